//! Layers around a channel, and tools that call a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tonic::transport::Channel;
use toolbooth::events::TraceContext;
use toolbooth::{CallContext, ErrorKind, RetryPolicy, ToolCall, ToolError, tool_fn};
use toolbooth_tonic::{parse_timeout, tool_error};
use tower::ServiceExt;
use tower::retry::RetryLayer;

use super::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The headers `grpc-timeout` and `traceparent`.
type Sent = (Option<Duration>, Option<String>);

/// Starts a server that records `grpc-timeout` and `traceparent` of each call.
fn recording(reply: Reply) -> (Channel, Recorder<Sent>, Running) {
    let seen = Recorder::new();
    let log = seen.clone();
    let tools = Tools::new(move |request| {
        let metadata = request.metadata();
        let text = |name| Some(metadata.get(name)?.to_str().expect("ASCII").to_owned());
        let timeout = text("grpc-timeout").and_then(|value| parse_timeout(&value));
        log.record((timeout, text("traceparent")));
        reply.clone()
    });
    let (channel, server) = start(tower::layer::util::Identity::new(), tools);
    (channel, seen, server)
}

#[tokio::test(start_paused = true)]
async fn shortest_limit_is_the_grpc_timeout() {
    let with = |timeout: Option<u64>| {
        let mut request = message();
        if let Some(millis) = timeout {
            request.set_timeout(ms(millis));
        }
        request
    };
    for (own, limit, configured, expected) in [
        (None, None, None, None),
        (Some(200), None, None, Some(200)),
        (None, Some(300), None, Some(300)),
        (None, None, Some(400), Some(400)),
        (Some(200), Some(300), Some(400), Some(200)),
        (Some(500), Some(300), Some(400), Some(300)),
        (Some(500), Some(600), Some(400), Some(400)),
    ] {
        let (channel, seen, _server) = recording(Reply::Text("ok"));
        let layers = ServiceBuilder::new()
            .layer(ClientLayer::new())
            .layer(TimeoutLayer::new(limit.map_or(Duration::MAX, ms)))
            .layer(ChannelLayer::new().with_timeout(configured.map(ms)));
        let reply = call(layers.service(channel), with(own)).await;
        assert_eq!(reply.unwrap(), "ok");
        let sent = seen.take().remove(0).0;
        assert_eq!(sent, expected.map(ms), "{own:?}, {limit:?}, {configured:?}");
    }
}

/// A call that waited in a queue has less time left.
#[tokio::test(start_paused = true)]
async fn time_in_a_queue_is_not_sent() {
    let (channel, seen, _server) = recording(Reply::Late(ms(100)));
    let layers = ServiceBuilder::new()
        .layer(ClientLayer::new())
        .layer(TimeoutLayer::new(ms(500)))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(ChannelLayer::new());
    let channel = layers.service(channel);
    let (first, second) = tokio::join!(
        call(channel.clone(), message()),
        call(channel.clone(), message())
    );
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        ("late".into(), "late".into())
    );
    let sent: Vec<_> = seen
        .take()
        .into_iter()
        .map(|(timeout, _)| timeout)
        .collect();
    assert_eq!(sent, [Some(ms(500)), Some(ms(400))]);
}

#[tokio::test(start_paused = true)]
async fn limit_ends_a_call_and_a_stream_of_a_client() {
    let (channel, _server) = start(
        tower::layer::util::Identity::new(),
        Tools::always(Reply::Never),
    );
    let limit = ConcurrencyLimitLayer::new(1);
    let layers = ServiceBuilder::new()
        .layer(ClientLayer::new())
        .layer(TimeoutLayer::new(ms(300)))
        .layer(limit.clone())
        .layer(ChannelLayer::new());
    let channel = layers.service(channel);
    let start = Instant::now();
    let status = call(channel.clone(), message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed(), ms(300));
    // The timer of tonic's channel ends with the head of the response.
    let ended = items_of(channel.clone(), message()).await;
    assert_eq!(ended, (3, Code::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(600));
    assert_eq!(limit.in_flight(), 0);

    // So does the timeout of one request.
    let mut short = message();
    short.set_timeout(ms(40));
    let ended = items_of(channel, short).await;
    assert_eq!(
        (ended, start.elapsed()),
        ((3, Code::DeadlineExceeded), ms(640))
    );
}

#[tokio::test(start_paused = true)]
async fn status_of_a_server_counts_and_reaches_the_caller_as_it_is() {
    for (code, is_outage) in [
        (Code::Unavailable, true),
        (Code::Internal, true),
        (Code::InvalidArgument, false),
        (Code::ResourceExhausted, false),
    ] {
        for is_stream in [false, true] {
            let (breaker, events) = (breaker(), Recorder::new());
            let layers = ServiceBuilder::new()
                .layer(ClientLayer::new())
                .layer(EventsLayer::new(events.sink()))
                .layer(breaker.clone())
                .layer(ChannelLayer::new());
            let server = tower::layer::util::Identity::new();
            let (channel, _server) = start(server, Tools::always(Reply::Status(code)));
            let channel = layers.service(channel);
            for _ in 0..2 {
                let found = match is_stream {
                    true => items_of(channel.clone(), message()).await.1,
                    false => {
                        let status = call(channel.clone(), message()).await.unwrap_err();
                        assert_eq!(status.message(), "as scripted");
                        status.code()
                    }
                };
                assert_eq!(found, code);
                let expected = match is_outage {
                    true => "tool.failed",
                    false => "tool.completed",
                };
                assert_eq!(terminal(&events).0, expected, "{code:?}, {is_stream}");
            }
            assert_eq!(breaker.state() == BreakerState::Open, is_outage, "{code:?}");
            let method = if is_stream { "Stream" } else { "Call" };
            let tool = events.values()[0].tool.clone();
            assert_eq!(tool, Some(format!("test.Tools/{method}").into()));
            if is_outage {
                let rejected = call(channel, message()).await.unwrap_err();
                assert_eq!(rejected.code(), Code::Unavailable);
                assert!(rejected.message().starts_with("the tool is unavailable"));
            }
        }
    }
}

/// A tool that calls the service.
fn tool(
    channel: Channel,
) -> impl tower::Service<ToolCall, Response = toolbooth::ToolOutput, Error = ToolError, Future: Send>
+ Clone {
    tool_fn("search", move |context: CallContext, _: ()| {
        let channel = channel.clone();
        async move {
            let request = toolbooth_tonic::request(&context, "TODO".to_owned());
            call(channel, request).await.map_err(tool_error)
        }
    })
}

fn search() -> ToolCall {
    ToolCall::new("search", json!(null))
}

#[tokio::test(start_paused = true)]
async fn tool_passes_on_its_deadline_and_its_trace() {
    let (channel, seen, _server) = recording(Reply::Text("3 matches"));
    let stack = TimeoutLayer::new(ms(700)).layer(tool(channel));
    let trace = TraceContext::parse(TRACE, None).expect("valid");
    let found = stack.clone().oneshot(search().with_extension(trace)).await;
    let found = found.unwrap().collect().await.unwrap();
    assert_eq!(found.text(), "3 matches");
    stack.oneshot(search()).await.unwrap();
    let sent = seen.take();
    assert_eq!(sent[0], (Some(ms(700)), Some(TRACE.to_owned())));
    assert_eq!(sent[1], (Some(ms(700)), None));
}

#[tokio::test(start_paused = true)]
async fn timeout_of_the_channel_is_the_timeout_of_the_tool() {
    // No layer has the limit: the channel of tonic enforces it.
    let server = tower::layer::util::Identity::new();
    let (channel, _server) = start(server, Tools::always(Reply::Never));
    let call = search().with_deadline(Instant::now() + ms(90));
    let start = Instant::now();
    let error = tool(channel).oneshot(call).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed(), ms(90));
}

#[tokio::test(start_paused = true)]
async fn retry_waits_for_the_time_that_the_server_names() {
    // The server's rate limit names the time; its layers hold the second call back.
    let quota = toolbooth::Quota::with_period(Duration::from_secs(2));
    let layers = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(toolbooth::RateLimitLayer::new(quota).reject());
    let (channel, _server) = start(layers, Tools::always(Reply::Text("ok")));
    let retry = RetryLayer::new(RetryPolicy::new(3).with_backoff(Duration::ZERO, Duration::ZERO));
    let stack = retry.layer(tool(channel));
    let start = Instant::now();
    for seconds in [0, 2, 4] {
        let response = stack.clone().oneshot(search()).await;
        assert!(response.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn unavailable_service_is_called_again_only_for_idempotent_calls() {
    for (code, idempotent, expected) in [
        (Code::Unavailable, None, 1),
        (Code::Unavailable, Some(true), 3),
        (Code::InvalidArgument, None, 1),
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let tools = Tools::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Reply::Status(code)
        });
        let (channel, _server) = start(tower::layer::util::Identity::new(), tools);
        let retry = RetryLayer::new(RetryPolicy::new(3));
        let mut call = search();
        if let Some(idempotent) = idempotent {
            call = call.with_idempotent(idempotent);
        }
        let error = retry
            .layer(tool(channel))
            .oneshot(call)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Tool);
        assert_eq!(calls.load(Ordering::SeqCst), expected, "{code:?}");
    }
}

/// No server accepts the connection: nothing was sent, so that a retry is safe.
#[tokio::test(start_paused = true)]
async fn failed_connection_is_repeated() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let connect = tower::service_fn(move |_: http::Uri| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err::<hyper_util::rt::TokioIo<tokio::io::DuplexStream>, _>(
            std::io::Error::from(std::io::ErrorKind::ConnectionRefused),
        ))
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://memory");
    let channel = endpoint.connect_with_connector_lazy(connect);
    let stack = RetryLayer::new(RetryPolicy::new(3)).layer(tool(channel.clone()));
    let error = stack.oneshot(search()).await.err().unwrap();
    assert!(error.is_retryable() && error.is_outage());
    assert_eq!(attempts.load(Ordering::SeqCst), 3);

    // The layers around a channel treat it alike.
    let layers = ServiceBuilder::new()
        .layer(ClientLayer::new())
        .layer(ChannelLayer::new());
    let status = call(layers.service(channel), message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(tool_error(status).is_outage());
}

/// The server ends in the middle of a call.
#[tokio::test(start_paused = true)]
async fn lost_connection_is_an_outage() {
    let identity = tower::layer::util::Identity::new();
    let (channel, server) = start(identity, Tools::always(Reply::Never));
    let (breaker, events) = (breaker(), Recorder::new());
    let layers = ServiceBuilder::new()
        .layer(ClientLayer::new())
        .layer(EventsLayer::new(events.sink()))
        .layer(breaker.clone())
        .layer(ChannelLayer::new());
    let channel = layers.service(channel);
    let mut stream = open(channel, message()).await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    server.disconnect();
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err());
    assert_eq!(terminal(&events).0, "tool.failed");
}
