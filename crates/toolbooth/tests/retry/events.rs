//! The events of retries.

use toolbooth::{ErrorKind, EventsLayer};

use super::support::events::EventLines;
use super::*;

/// A tool that fails twice: with a tool error, then with a rate limit.
fn third_time(attempts: &Recorder<u32>) -> ScriptedTool {
    let attempts = attempts.clone();
    ScriptedTool::new(move |call: ToolCall| {
        attempts.record(call.context().attempt());
        let result: Result<_, BoxError> = match attempts.len() {
            1 => Err(retryable().into()),
            2 => Err(ToolError::rate_limited(ms(500)).into()),
            _ => Ok(ToolOutput::text("done")),
        };
        std::future::ready(result)
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_retry_is_reported_when_it_is_decided() {
    let (events, attempts) = (EventLines::new(), Recorder::new());
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(RetryLayer::new(at_once(5)))
        .service(third_time(&attempts));
    let response = service.oneshot(call().with_id("call")).await;
    assert_eq!(text(response).await, "done");
    assert_eq!(attempts.values(), [1, 2, 3]);

    assert_eq!(
        events.take_with("tool.retry"),
        [
            "0 call tool.retry #2 after 0 tool_error",
            "0 call tool.retry #3 after 500 rate_limited",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn events_layer_outside_of_a_retry_has_one_terminal_event_and_one_inside_has_one_each() {
    let (outer, inner) = (EventLines::new(), EventLines::new());
    let service = ServiceBuilder::new()
        .layer(outer.layer())
        .layer(RetryLayer::new(at_once(2)))
        .layer(inner.layer())
        .service(failing(&Starts::new(), retryable()));
    assert!(service.oneshot(call().with_id("call")).await.is_err());

    assert_eq!(
        outer.take(),
        [
            "0 call tool.invoked",
            "0 call tool.started",
            "0 call tool.retry #2 after 0 tool_error",
            "0 call tool.started",
            "0 call tool.failed",
        ]
    );
    let attempt = [
        "0 call tool.invoked",
        "0 call tool.started",
        "0 call tool.failed",
    ];
    assert_eq!(inner.take(), [attempt, attempt].concat());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn retry_of_a_response_has_no_error() {
    let events = EventLines::new();
    let policy = at_once(2)
        .with_idempotent(true)
        .with_responses(|head| matches!(head, ResponseHead::Tool(output) if output.is_error()));
    let tool = ScriptedTool::new(|_| async {
        Ok::<_, BoxError>(ToolOutput::text("not found").with_is_error(true))
    });
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(RetryLayer::new(policy))
        .service(tool);
    assert!(service.oneshot(call().with_id("call")).await.is_ok());
    let retries = events.take_with("tool.retry");
    assert_eq!(
        retries,
        ["0 call tool.retry #2 after 0 response tool_error"]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn failure_that_is_not_retried_reports_no_retry() {
    let events = EventLines::new();
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(RetryLayer::new(at_once(5)))
        .service(failing(&Starts::new(), ToolError::failed("for good")));
    assert!(service.oneshot(call().with_id("call")).await.is_err());
    assert_eq!(events.take_with("tool.retry"), [""; 0]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn retry_names_the_layer_that_ended_the_attempt() {
    let events = EventLines::new();
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(RetryLayer::new(at_once(2).with_idempotent(true)))
        .layer(TimeoutLayer::new(ms(300)))
        .service(ScriptedTool::pending());
    let pending = service.oneshot(call().with_id("call"));
    assert!(pending.await.is_err());
    let retries = events.take_with("tool.retry");
    assert_eq!(retries, ["300 call tool.retry #2 after 0 timeout timeout"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn retry_of_an_http_response_has_its_status() {
    let events = EventLines::new();
    let policy = at_once(2)
        .with_idempotent(true)
        .with_responses(|head| matches!(head, ResponseHead::Http(_)));
    let tool = service_fn(|_: Request<String>| async {
        let mut response = Response::new(String::new());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, BoxError>(response)
    });
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(RetryLayer::new(policy))
        .service(tool);
    assert!(service.oneshot(Request::new(String::new())).await.is_ok());
    let retries = events.take_with("tool.retry");
    assert_eq!(retries.len(), 1);
    assert!(
        retries[0].ends_with("#2 after 0 response 503"),
        "{retries:?}"
    );
}

/// The limits inside see the same with a sink and without one, in later attempts as well.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn events_layer_outside_of_a_retry_changes_nothing_for_limits_inside() {
    let (events, five) = (EventLines::new(), NonZeroU32::new(5).expect("not 0"));
    for layer in [EventsLayer::off(), events.layer()] {
        let rate = RateLimitLayer::new(Quota::per_hour(five));
        let busy = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
        let holder = busy.layer(ScriptedTool::new(|_: ToolCall| {
            std::future::pending::<Result<ToolOutput, BoxError>>()
        }));
        let mut holds = tokio_test::task::spawn(holder.oneshot(call()));
        assert!(holds.poll().is_pending());
        let service = ServiceBuilder::new()
            .layer(layer)
            .layer(RetryLayer::new(at_once(3)))
            .layer(rate.clone())
            .layer(busy)
            .service(ScriptedTool::ready());
        let rejected = error_of(service, call()).await;
        assert_eq!(rejected.kind(), ErrorKind::Overloaded);
        assert_eq!(rate.remaining(), 5);
    }
    assert_eq!(events.take_with("tool.retry").len(), 2);
}
