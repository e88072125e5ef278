//! Layers around a server.

use toolbooth::{CancelReason, Outcome, ShutdownLayer, ToolCall, ToolRequest};

use super::*;

const METHODS: [&str; 2] = [tools::CALL, tools::STREAM];

#[tokio::test(start_paused = true)]
async fn limit_ends_a_call_and_a_stream_with_their_status() {
    let limit = ConcurrencyLimitLayer::new(1);
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(TimeoutLayer::new(ms(320)))
        .layer(limit.clone());
    let (channel, _server) = start(layers, Tools::always(Reply::Never));
    let start = Instant::now();
    let status = call(channel.clone(), message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "the call timed out");
    assert_eq!(start.elapsed(), ms(320));
    let ended = items_of(channel, message()).await;
    assert_eq!(ended, (3, Code::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(640));
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn grpc_timeout_ends_a_call_a_stream_and_a_wait() {
    let limit = ConcurrencyLimitLayer::new(1);
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .layer(limit.clone());
    let (channel, _server) = start(layers, Tools::always(Reply::Never));
    // The channel of tonic enforces the header as well, up to the head, and 5 ms later.
    let within = |timeout: Duration| {
        let mut request = message();
        request.set_timeout(timeout);
        request
    };
    let start = Instant::now();
    let ended = items_of(channel.clone(), within(ms(300))).await;
    assert_eq!(ended, (3, Code::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(295));

    let running = open(channel.clone(), message()).await.unwrap();
    assert_eq!(limit.in_flight(), 1);
    let start = Instant::now();
    let status = call(channel.clone(), within(ms(50))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!((start.elapsed(), limit.queued()), (ms(45), 0));
    drop(running);
}

/// The status of a method is in the head or in the trailers of a response that is complete.
#[tokio::test(start_paused = true)]
async fn status_of_a_method_is_an_outage_if_it_is_the_fault_of_the_service() {
    for (code, name, is_outage) in [
        (Code::Unavailable, "UNAVAILABLE", true),
        (Code::Internal, "INTERNAL", true),
        (Code::Unknown, "UNKNOWN", true),
        (Code::DataLoss, "DATA_LOSS", true),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", true),
        (Code::InvalidArgument, "", false),
        (Code::NotFound, "", false),
        (Code::ResourceExhausted, "", false),
        (Code::Unauthenticated, "", false),
    ] {
        for is_stream in [false, true] {
            let (breaker, events) = (breaker(), Recorder::new());
            let layers = ServiceBuilder::new()
                .layer(ServerLayer::new().with_methods(METHODS))
                .layer(EventsLayer::new(events.sink()))
                .layer(breaker.clone());
            let (channel, _server) = start(layers, Tools::always(Reply::Status(code)));
            for _ in 0..2 {
                let found = match is_stream {
                    true => items_of(channel.clone(), message()).await,
                    false => (
                        3,
                        call(channel.clone(), message()).await.unwrap_err().code(),
                    ),
                };
                assert_eq!(found, (3, code));
                let (expected, error_type) = match is_outage {
                    true => ("tool.failed", Some(name.to_owned())),
                    false => ("tool.completed", None),
                };
                let seen = terminal(&events);
                assert_eq!(seen, (expected, error_type), "{code:?}, {is_stream}");
            }
            let is_open = breaker.state() == BreakerState::Open;
            assert_eq!(is_open, is_outage, "{code:?}, {is_stream}");
            if is_open {
                let rejected = call(channel.clone(), message()).await.unwrap_err();
                assert_eq!(rejected.code(), Code::Unavailable);
                assert!(rejected.metadata().contains_key("retry-after"));
            }
            let method = if is_stream { "Stream" } else { "Call" };
            let tool = events.values()[0].tool.clone();
            assert_eq!(tool, Some(format!("test.Tools/{method}").into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_open_streams_with_unavailable_and_rejects_new_calls() {
    let shutdown = ShutdownLayer::new();
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(shutdown.clone());
    let (channel, _server) = start(layers, Tools::always(Reply::Never));
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(open(channel.clone(), message()).await.unwrap());
    }
    let begun = Instant::now();
    let end = async {
        let report = shutdown.shutdown(ms(200), ms(1_000)).await;
        assert_eq!((report.cancelled, report.abandoned), (3, 0));
    };
    let clients = async {
        tokio::time::sleep(ms(50)).await;
        let rejected = call(channel.clone(), message()).await.unwrap_err();
        assert_eq!(rejected.code(), Code::Unavailable);
        assert_eq!(rejected.message(), "the service is shutting down");
        assert_eq!(rejected.metadata().get("retry-after").unwrap(), "5");
        for stream in &mut streams {
            for _ in 0..3 {
                assert_eq!(stream.message().await.unwrap().as_deref(), Some("item"));
            }
            let status = stream.message().await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.message(), "the service is shutting down");
        }
        assert_eq!(begun.elapsed(), ms(200));
    };
    tokio::join!(end, clients);
}

/// A client that leaves ends its call, whose outcome a hook sees.
#[tokio::test(start_paused = true)]
async fn client_that_drops_its_stream_cancels_the_call() {
    let limit = ConcurrencyLimitLayer::new(1);
    let outcomes = Recorder::new();
    let log = outcomes.clone();
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .map_request(move |mut request: http::Request<tonic::body::Body>| {
            request.context().on_cleanup(log.hook());
            request
        })
        .layer(limit.clone());
    let (channel, _server) = start(layers, Tools::always(Reply::Never));
    let mut stream = open(channel, message()).await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(limit.in_flight(), 1);
    drop(stream);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(limit.in_flight(), 0);
    assert_eq!(outcomes.values(), [Outcome::Cancelled]);
}

/// Around one service of several, by tonic's named layer.
#[tokio::test(start_paused = true)]
async fn layers_wrap_one_service() {
    use tonic::service::LayerExt;
    use tower::ServiceExt;

    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(TimeoutLayer::new(ms(20)));
    let tools = layers.named_layer(Tools::always(Reply::Never));
    let routes = tonic::service::Routes::new(tools);
    let request = http::Request::post("/test.Tools/Call").body(tonic::body::Body::empty());
    let response = routes.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(
        response.headers()["grpc-status"],
        "13",
        "no message was sent"
    );
}

/// What a method sees of its call, and a call that it makes of it.
type Seen = (String, Option<String>, Option<Duration>, ToolCall<()>);

fn recording() -> (Tools, Recorder<Seen>) {
    let seen = Recorder::new();
    let log = seen.clone();
    let tools = Tools::new(move |request| {
        let context = toolbooth_tonic::context(request);
        // It is the same call each time.
        assert_eq!(context.id(), toolbooth_tonic::context(request).id());
        let child = context.child("search", ()).expect("the first level");
        let tenant = context.tenant().map(str::to_owned);
        log.record((
            context.tool().to_owned(),
            tenant,
            context.remaining(),
            child,
        ));
        Reply::Late(ms(100))
    });
    (tools, seen)
}

#[tokio::test(start_paused = true)]
async fn method_makes_calls_of_tools_in_its_own_call() {
    let (tools, seen) = recording();
    let layers = ServiceBuilder::new()
        .layer(
            ServerLayer::new()
                .with_methods(METHODS)
                .with_tenant(|_| Some("acme".into())),
        )
        .layer(TimeoutLayer::new(ms(300)));
    let (channel, _server) = start(layers, tools);
    let reply = call(channel, message()).await;
    assert_eq!(reply.unwrap(), "late");
    let (tool, tenant, remaining, child) = seen.take().remove(0);
    assert_eq!(tool, "test.Tools/Call");
    assert_eq!(tenant.as_deref(), Some("acme"));
    assert_eq!(remaining, Some(ms(300)));
    let child = child.context();
    assert_eq!((child.tool(), child.tenant()), ("search", Some("acme")));
    // The call has ended after 100 ms.
    assert_eq!(child.remaining(), Some(ms(200)));
    assert_eq!(child.cancel_reason(), Some(CancelReason::Parent));
}

#[tokio::test(start_paused = true)]
async fn method_without_layers_has_a_context_of_its_own() {
    let (tools, seen) = recording();
    let (channel, _server) = start(tower::layer::util::Identity::new(), tools);
    assert_eq!(call(channel, message()).await.unwrap(), "late");
    let (tool, tenant, remaining, _) = seen.take().remove(0);
    assert_eq!((tool.as_str(), tenant, remaining), ("POST *", None, None));
}
