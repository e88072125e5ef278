//! gRPC: status codes, deadlines of the client, and trailers.

use hyper_util::client::legacy::Client as Transport;
use hyper_util::rt::TokioExecutor;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request as Call, Status, Streaming};
use toolbooth::{BoxError, CancelReason, Quota, ToolError, tool_fn};
use toolbooth_examples::servers::grpc::{
    CallReply, CallRequest, CountRequest, Number, Service, ToolsClient, serve,
};
use toolbooth_examples::servers::{Toolbox, toolbox};
use toolbooth_tonic::ServerLayer;
use tower::ServiceBuilder;

use super::*;

/// The tools of the example, and one that fails as cancelled.
fn tools() -> Toolbox {
    let tools = toolbox().expect("a toolbox");
    let cancelled = tool_fn("cancelled", async |_: ()| {
        Err::<(), _>(ToolError::cancelled(CancelReason::CallerGone))
    });
    tools.insert("cancelled", cancelled).expect("a new name");
    tools
}

/// Starts the application of the example.
async fn start(limits: &Limits) -> (JoinHandle<()>, SocketAddr) {
    let (listener, address) = listen().await;
    let server = serve(listener, tools(), limits.clone());
    let server = tokio::spawn(async { server.await.expect("a server") });
    (server, address)
}

async fn channel(server: SocketAddr) -> ToolsClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).expect("an address");
    ToolsClient::new(endpoint.connect().await.expect("a connection"))
}

fn request(tool: &str, args: &str) -> CallRequest {
    CallRequest {
        tool: tool.to_owned(),
        args: args.to_owned(),
    }
}

async fn call<T>(
    client: &ToolsClient<T>,
    call: impl tonic::IntoRequest<CallRequest>,
) -> Result<CallReply, Status>
where
    T: Clone + GrpcService<tonic::body::Body, Error: Into<BoxError>>,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    let response = tokio::time::timeout(PATIENCE, client.clone().call(call)).await;
    response.expect("in time").map(tonic::Response::into_inner)
}

async fn count<T>(client: &ToolsClient<T>, count: u64) -> Streaming<Number>
where
    T: Clone + GrpcService<tonic::body::Body, Error: Into<BoxError>>,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    let response = client.clone().count(CountRequest { count }).await;
    response.expect("a head").into_inner()
}

async fn code(client: &ToolsClient<Channel>, tool: &str, args: &str) -> Code {
    let failed = call(client, request(tool, args)).await;
    failed.expect_err("it fails").code()
}

const SUM: &str = r#"{"numbers":[1,2]}"#;
const LONG: &str = r#"{"millis":60000}"#;

#[tokio::test]
async fn methods_respond_and_errors_of_tools_have_their_codes() {
    let limits = limits(1);
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    let reply = call(&client, request("sum", SUM)).await.unwrap();
    assert_eq!(reply.result, r#"{"sum":3.0}"#);
    assert_eq!(code(&client, "sum", "{}").await, Code::InvalidArgument);
    assert_eq!(code(&client, "sum", "no json").await, Code::InvalidArgument);
    assert_eq!(code(&client, "sing", "{}").await, Code::NotFound);
    assert_eq!(code(&client, "cancelled", "{}").await, Code::Cancelled);

    let mut numbers = count(&client, 3).await;
    for expected in 1..=3 {
        let number = numbers.message().await.unwrap().unwrap();
        assert_eq!(number.value, expected);
        // The stream ends with the last number.
        assert!(expected == 3 || limits.at_once.in_flight() == 1);
    }
    assert_eq!(numbers.message().await.unwrap(), None);
    eventually("the permit is released", || limits.at_once.in_flight() == 0).await;
}

#[tokio::test]
async fn timeout_is_deadline_exceeded_before_the_head_and_within_the_stream() {
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(320));
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    assert_eq!(code(&client, "sleep", LONG).await, Code::DeadlineExceeded);

    let mut numbers = count(&client, 1_000_000).await;
    let mut expected = 1;
    let error = loop {
        match numbers.message().await {
            Ok(number) => assert_eq!(number.unwrap().value, expected),
            Err(error) => break error,
        }
        expected += 1;
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let message = error.message();
    assert!(message == "the call timed out", "{message}");
    assert!(expected > 1, "no number came before the limit");
    assert_eq!(limits.at_once.in_flight(), 0);
}

#[tokio::test]
async fn rate_limit_is_resource_exhausted_with_retry_after() {
    let mut limits = limits(1);
    let hour = Duration::from_secs(3_600);
    limits.rate = RateLimitLayer::new(Quota::with_period(hour)).reject();
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    call(&client, request("sum", SUM)).await.unwrap();
    let rejected = call(&client, request("sum", SUM)).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted);
    let wait = rejected.metadata().get("retry-after").unwrap();
    let wait: u64 = wait.to_str().unwrap().parse().unwrap();
    assert!((3_580..=3_600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn full_limit_is_unavailable_until_the_stream_of_the_other_call_ends() {
    let mut limits = limits(1);
    limits.at_once = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    let mut numbers = count(&client, 1_000_000).await;
    assert_eq!(numbers.message().await.unwrap().unwrap().value, 1);
    assert_eq!(code(&client, "sum", SUM).await, Code::Unavailable);
    // The client drops the stream.
    drop(numbers);
    eventually("the permit is released", || limits.at_once.in_flight() == 0).await;
    call(&client, request("sum", SUM)).await.unwrap();
}

/// The channel of tonic enforces the timeout itself. This transport only sends it to the server.
#[tokio::test]
async fn grpc_timeout_is_the_deadline_of_the_call() {
    let limits = limits(1);
    let (_server, address) = start(&limits).await;
    let transport = Transport::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let server = format!("http://{address}").parse().unwrap();
    let client = ToolsClient::with_origin(transport, server);
    let within = |call: Call<CallRequest>, timeout| {
        let mut call = call;
        call.set_timeout(timeout);
        call
    };

    let start = Instant::now();
    let long = within(Call::new(request("sleep", LONG)), ms(300));
    let error = call(&client, long).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(error.message(), "the call timed out");
    assert!(start.elapsed() >= ms(290), "{:?}", start.elapsed());

    let mut long = Call::new(CountRequest { count: 1_000_000 });
    long.set_timeout(ms(300));
    let mut numbers = client.clone().count(long).await.unwrap().into_inner();
    let error = loop {
        if let Err(error) = numbers.message().await {
            break error;
        }
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(limits.at_once.in_flight(), 0);

    // Also in the queue.
    let running = count(&client, 1_000_000).await;
    let waiting = within(Call::new(request("sum", SUM)), ms(50));
    let error = call(&client, waiting).await.unwrap_err();
    assert_eq!(
        (error.code(), limits.at_once.queued()),
        (Code::DeadlineExceeded, 0)
    );
    drop(running);

    let enough = within(Call::new(request("sum", SUM)), PATIENCE);
    call(&client, enough).await.unwrap();
}

/// The status of a method is in trailers, after which hyper does not poll the body.
#[tokio::test]
async fn methods_complete_with_their_trailers() {
    let (limits, log) = (limits(1), Log::default());
    let (listener, address) = listen().await;
    let follow = log.clone();
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .map_request(move |request: http::Request<tonic::body::Body>| follow.follow(request))
        .layer(limits.layers());
    let service = Service::new(tools()).into_server();
    let task = tokio::spawn(async {
        let mut server = tonic::transport::Server::builder().layer(layers);
        let served = server.add_service(service);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        served
            .serve_with_incoming(incoming)
            .await
            .expect("a server");
    });
    let server = Server {
        address,
        limits,
        log,
        task,
    };
    let client = channel(address).await;
    const DONE: [Outcome; 1] = [Outcome::Completed];
    call(&client, request("sum", SUM)).await.unwrap();
    server.ended("unary", &DONE).await;
    // For HTTP it is a response like any other.
    assert_eq!(code(&client, "sing", "{}").await, Code::NotFound);
    server.ended("status alone", &DONE).await;
    for numbers in [0, 1, 3] {
        let mut stream = count(&client, numbers).await;
        while stream.message().await.unwrap().is_some() {}
        server.ended("stream", &DONE).await;
    }
    let mut stream = count(&client, 1_000_000).await;
    stream.message().await.unwrap().unwrap();
    drop(stream);
    server.ended("dropped stream", &[Outcome::Cancelled]).await;
}
