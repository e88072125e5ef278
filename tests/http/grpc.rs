//! The gRPC codes, and the client's deadline.

use hyper_util::client::legacy::Client as Transport;
use hyper_util::rt::TokioExecutor;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request as Call, Status, Streaming};
use toolbooth::{BoxError, CancelReason, Quota, ToolCall, ToolError};
use toolbooth_examples::servers::grpc::{
    CallReply, CallRequest, CountRequest, Number, Service, ToolsClient, serve, status,
};
use toolbooth_examples::servers::{Toolbox, toolbox};
use tower::util::{BoxCloneSyncService, MapErrLayer};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::*;

/// The example's tools, and one that says that its call was cancelled.
fn tools() -> Toolbox {
    let tools = toolbox();
    BoxCloneSyncService::new(service_fn(move |call: ToolCall| {
        let tools = tools.clone();
        async move {
            match call.name() {
                "cancelled" => Err(ToolError::cancelled(CancelReason::CallerGone)),
                _ => tools.oneshot(call).await,
            }
        }
    }))
}

/// The application of the example, as it is.
async fn start(limits: &Limits) -> (JoinHandle<()>, SocketAddr) {
    let (listener, address) = listen().await;
    let server = serve(listener, tools(), limits.clone());
    let server = tokio::spawn(async { server.await.expect("it serves") });
    (server, address)
}

async fn channel(server: SocketAddr) -> ToolsClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).expect("an address");
    ToolsClient::new(endpoint.connect().await.expect("it listens"))
}

fn asks(tool: &str, args: &str) -> CallRequest {
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
    let answer = tokio::time::timeout(PATIENCE, client.clone().call(call)).await;
    answer.expect("in time").map(tonic::Response::into_inner)
}

async fn count<T>(client: &ToolsClient<T>, count: u64) -> Streaming<Number>
where
    T: Clone + GrpcService<tonic::body::Body, Error: Into<BoxError>>,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    let answer = client.clone().count(CountRequest { count }).await;
    answer.expect("a head").into_inner()
}

async fn code(client: &ToolsClient<Channel>, tool: &str, args: &str) -> Code {
    let failed = call(client, asks(tool, args)).await;
    failed.expect_err("it fails").code()
}

const SUM: &str = r#"{"numbers":[1,2]}"#;
const LONG: &str = r#"{"millis":60000}"#;

#[tokio::test]
async fn methods_answer_and_errors_of_tools_have_their_codes() {
    let limits = limits(1);
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    let reply = call(&client, asks("sum", SUM)).await.unwrap();
    assert_eq!(reply.result, r#"{"sum":3.0}"#);
    assert_eq!(code(&client, "sum", "{}").await, Code::InvalidArgument);
    assert_eq!(code(&client, "sum", "no json").await, Code::InvalidArgument);
    assert_eq!(code(&client, "sing", "{}").await, Code::NotFound);
    assert_eq!(code(&client, "cancelled", "{}").await, Code::Cancelled);

    let mut numbers = count(&client, 3).await;
    for expected in 1..=3 {
        let number = numbers.message().await.unwrap().unwrap();
        assert_eq!(number.value, expected);
        // The end comes right behind the last number.
        assert!(expected == 3 || limits.at_once.in_flight() == 1);
    }
    assert_eq!(numbers.message().await.unwrap(), None);
    eventually("the permit is back", || limits.at_once.in_flight() == 0).await;
}

#[tokio::test]
async fn limit_is_deadline_exceeded_before_the_head_and_within_the_stream() {
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(320));
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    assert_eq!(code(&client, "sleep", LONG).await, Code::DeadlineExceeded);

    let mut numbers = count(&client, 1_000_000).await;
    let mut expected = 1;
    let cut = loop {
        match numbers.message().await {
            Ok(number) => assert_eq!(number.unwrap().value, expected),
            Err(cut) => break cut,
        }
        expected += 1;
    };
    assert_eq!(cut.code(), Code::DeadlineExceeded);
    assert!(cut.message().contains("total limit of 320ms"), "{cut}");
    assert!(expected > 1, "no number came before the limit");
    assert_eq!(limits.at_once.in_flight(), 0);
}

#[tokio::test]
async fn rate_limit_is_resource_exhausted_and_says_when() {
    let mut limits = limits(1);
    let hour = Duration::from_secs(3_600);
    limits.rate = RateLimitLayer::new(Quota::with_period(hour)).reject();
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    call(&client, asks("sum", SUM)).await.unwrap();
    let refused = call(&client, asks("sum", SUM)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let wait = refused.metadata().get("retry-after").unwrap();
    let wait: u64 = wait.to_str().unwrap().parse().unwrap();
    assert!((3_580..=3_600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn full_limit_is_unavailable_until_the_stream_of_the_other_call_is_gone() {
    let mut limits = limits(1);
    limits.at_once = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let (_server, address) = start(&limits).await;
    let client = channel(address).await;
    let mut numbers = count(&client, 1_000_000).await;
    assert_eq!(numbers.message().await.unwrap().unwrap().value, 1);
    assert_eq!(code(&client, "sum", SUM).await, Code::Unavailable);
    // A client that leaves within the stream.
    drop(numbers);
    eventually("the permit is back", || limits.at_once.in_flight() == 0).await;
    call(&client, asks("sum", SUM)).await.unwrap();
}

/// tonic's own channel cuts a call with a timeout itself; this transport only tells the server of it.
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
    let long = within(Call::new(asks("sleep", LONG)), ms(300));
    let cut = call(&client, long).await.unwrap_err();
    assert_eq!(cut.code(), Code::DeadlineExceeded);
    assert!(cut.message().contains("deadline limit"), "{cut}");
    assert!(start.elapsed() >= ms(290), "{:?}", start.elapsed());

    let mut long = Call::new(CountRequest { count: 1_000_000 });
    long.set_timeout(ms(300));
    let mut numbers = client.clone().count(long).await.unwrap().into_inner();
    let cut = loop {
        if let Err(cut) = numbers.message().await {
            break cut;
        }
    };
    assert_eq!(cut.code(), Code::DeadlineExceeded);
    assert_eq!(limits.at_once.in_flight(), 0);

    // In the waiting line as well.
    let running = count(&client, 1_000_000).await;
    let waiting = within(Call::new(asks("sum", SUM)), ms(50));
    let cut = call(&client, waiting).await.unwrap_err();
    assert_eq!(
        (cut.code(), limits.at_once.queued()),
        (Code::DeadlineExceeded, 0)
    );
    drop(running);

    let enough = within(Call::new(asks("sum", SUM)), PATIENCE);
    call(&client, enough).await.unwrap();
}

/// The status of a method is in trailers, behind which nobody asks the body for its end.
#[tokio::test]
async fn methods_complete_with_their_trailers() {
    let (limits, log) = (limits(1), Log::default());
    let (listener, address) = listen().await;
    let follow = log.clone();
    let layers = ServiceBuilder::new()
        .layer(MapErrLayer::new(|error| status(&error)))
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
            .expect("it serves");
    });
    let server = Server {
        address,
        limits,
        log,
        task,
    };
    let client = channel(address).await;
    const DONE: [Outcome; 1] = [Outcome::Completed];
    call(&client, asks("sum", SUM)).await.unwrap();
    server.ended("unary", &DONE).await;
    // To http it is an answer like any other.
    assert_eq!(code(&client, "sing", "{}").await, Code::NotFound);
    server.ended("status alone", &DONE).await;
    for numbers in [0, 1, 3] {
        let mut answer = count(&client, numbers).await;
        while answer.message().await.unwrap().is_some() {}
        server.ended("stream", &DONE).await;
    }
    let mut answer = count(&client, 1_000_000).await;
    answer.message().await.unwrap().unwrap();
    drop(answer);
    server.ended("client gone", &[Outcome::Cancelled]).await;
}

#[test]
fn every_kind_of_error_has_its_code() {
    let (scope, second) = (toolbooth::TimeoutScope::Total, Duration::from_secs(1));
    let full = toolbooth::OverloadReason::queue_full(1);
    for (error, code) in [
        (
            ToolError::timeout(scope, second, second),
            Code::DeadlineExceeded,
        ),
        (ToolError::rate_limited(second), Code::ResourceExhausted),
        (ToolError::overloaded(full), Code::Unavailable),
        (ToolError::unknown_tool("sing"), Code::NotFound),
        (
            ToolError::invalid_arguments(".", "no"),
            Code::InvalidArgument,
        ),
        (
            ToolError::cancelled(CancelReason::CallerGone),
            Code::Cancelled,
        ),
        (ToolError::panicked("oh"), Code::Internal),
        (ToolError::failed("no"), Code::Internal),
    ] {
        assert_eq!(status(&error).code(), code, "{error}");
    }
}
