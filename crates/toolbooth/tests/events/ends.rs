//! The terminal event of a call.

use std::task::{Context, Poll};
use std::time::Duration;

use support::{Readiness, takes};
use toolbooth::ErrorKind;
use toolbooth::middleware::{Decision, LayerFuture, LayerWatch};

use super::*;

/// What a timeout reports: the layer, the limit, whether the tool had started, whether there is an
/// error.
fn timed_out(events: &Recorder<Event>) -> (Option<String>, Duration, bool, bool) {
    let kind = terminal(events);
    assert_eq!(kind.outcome(), Some(Outcome::TimedOut));
    assert_eq!(kind.error_type(), Some("timeout"));
    let EventKind::TimedOut {
        layer,
        limit,
        started,
        error,
        ..
    } = kind
    else {
        unreachable!("not timed out: {kind:?}");
    };
    (
        layer.map(|name| name.to_string()),
        limit,
        started,
        error.is_some(),
    )
}

#[tokio::test(start_paused = true)]
async fn timeout_inside_is_named_with_its_error() {
    let (layer, events) = recorded();
    let attempt = TimeoutLayer::new(ms(50)).with_name("attempt");
    error_of(layer.layer(attempt.layer(ScriptedTool::pending())), call()).await;
    let named = Some("attempt".to_owned());
    assert_eq!(timed_out(&events), (named, ms(50), true, true));
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_is_named_without_an_error() {
    let total = TimeoutLayer::new(ms(100));
    let idle = TimeoutLayer::new(ms(10_000)).with_idle(ms(100));
    let only_idle = TimeoutLayer::new(None).with_idle(ms(100));
    for outer in [total, idle, only_idle] {
        let outer = outer.with_name("outer");
        // The limit inside is longer, and is not the one that expired.
        for inner in [TimeoutLayer::new(None), TimeoutLayer::new(ms(5_000))] {
            let (layer, events) = recorded();
            let stack = outer.layer(layer.layer(inner.layer(ScriptedTool::pending())));
            error_of(stack, call()).await;
            let named = Some("outer".to_owned());
            assert_eq!(timed_out(&events), (named, ms(100), true, false));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_of_a_queue_reports_that_the_tool_had_not_started() {
    let (layer, events) = recorded();
    let limit = ConcurrencyLimitLayer::new(1);
    let busy = limit.layer(ScriptedTool::pending());
    let busy = tokio::spawn(busy.oneshot(call()));
    tokio::time::sleep(ms(1)).await;
    let outer = TimeoutLayer::new(ms(100));
    error_of(
        outer.layer(layer.layer(limit.layer(ScriptedTool::ready()))),
        call(),
    )
    .await;
    let named = Some("timeout".to_owned());
    assert_eq!(timed_out(&events), (named, ms(100), false, false));
    assert!(!events.names().contains(&"tool.started"));
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn stream_that_expires_outside_is_timed_out() {
    let (layer, events) = recorded();
    let (tool, _) = streams(|probe| ticking(probe, ms(60), ["a", "b", "c"]));
    let stack = TimeoutLayer::new(ms(100)).layer(layer.layer(tool));
    let response = stack.oneshot(call()).await.unwrap();
    assert!(response.collect().await.is_err());
    let named = Some("timeout".to_owned());
    assert_eq!(timed_out(&events), (named, ms(100), true, false));
}

#[tokio::test(start_paused = true)]
async fn error_that_a_tool_returns_in_the_grace_period_is_the_timeout_outside() {
    let (layer, events) = recorded();
    let tool = ScriptedTool::new(|call: ToolCall| async move {
        call.context().cancelled().await;
        Err(ToolError::cancelled(CancelReason::Timeout).into())
    });
    let outer = TimeoutLayer::new(ms(100)).with_grace(ms(50));
    error_of(outer.layer(layer.layer(tool)), call()).await;
    let named = Some("timeout".to_owned());
    assert_eq!(timed_out(&events), (named, ms(100), true, true));
}

/// Cancels calls with the reason of a timeout, and does not report the limit.
#[derive(Clone)]
struct Foreign<S>(S);

struct ForeignWatch;

impl LayerWatch for ForeignWatch {}

impl<S> Service<ToolCall> for Foreign<S>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = LayerFuture<S, ToolCall, ForeignWatch>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        LayerFuture::new(&mut self.0, call, |part| {
            part.cancel(CancelReason::Timeout);
            Decision::Start(ForeignWatch)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_whose_limit_is_not_known_is_cancelled_with_that_reason() {
    let (layer, events) = recorded();
    let stack = Foreign(layer.layer(ScriptedTool::pending()));
    assert!(
        tokio::time::timeout(ms(10), stack.oneshot(call()))
            .await
            .is_err()
    );
    let kind = terminal(&events);
    assert_eq!(kind.outcome(), Some(Outcome::TimedOut));
    assert_eq!(
        (kind.name(), kind.error_type()),
        ("tool.cancelled", Some("timeout"))
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_is_cancelled_without_an_error() {
    let (layer, events) = recorded();
    let stack = layer.layer(ScriptedTool::pending());
    assert!(
        tokio::time::timeout(ms(10), stack.oneshot(call()))
            .await
            .is_err()
    );
    let kind = terminal(&events);
    assert_eq!(
        (kind.outcome(), kind.error_type()),
        (Some(Outcome::Cancelled), Some("cancelled"))
    );
    let EventKind::Cancelled {
        reason,
        started,
        error,
        ..
    } = kind
    else {
        unreachable!("not cancelled: {kind:?}");
    };
    assert_eq!(
        (reason, started, error.is_none()),
        (CancelReason::CallerGone, true, true)
    );
}

#[tokio::test(start_paused = true)]
async fn rejection_by_the_tool_itself_names_no_layer() {
    let (layer, events) = recorded();
    error_of(
        layer.layer(support::fails(ToolError::rate_limited(ms(300)))),
        call(),
    )
    .await;
    assert_eq!(
        events.names(),
        ["tool.invoked", "tool.started", "tool.rejected"]
    );
    let EventKind::Rejected {
        layer,
        why,
        retry_after,
        ..
    } = terminal(&events)
    else {
        unreachable!("not rejected: {events:?}");
    };
    assert_eq!(
        (layer, why, retry_after),
        (None, ErrorKind::RateLimited, Some(ms(300)))
    );
}

#[tokio::test(start_paused = true)]
async fn response_that_reports_an_error_is_completed_with_an_error_type() {
    let (layer, events) = recorded();
    let tool = ScriptedTool::new(|_| std::future::ready(Ok(ToolOutput::error("no such file"))));
    layer.layer(tool).oneshot(call()).await.unwrap();
    let kind = terminal(&events);
    assert_eq!(
        (kind.name(), kind.error_type()),
        ("tool.completed", Some("tool_error"))
    );
    assert!(
        matches!(kind, EventKind::Completed { is_error: true, .. }),
        "{kind:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn events_have_the_times_at_which_they_happened() {
    let (layer, events) = recorded();
    let start = tokio::time::Instant::now();
    tokio::time::advance(ms(5)).await;
    let tool = takes(ms(20)).with_readiness(Readiness::Pending);
    let stack = layer.layer(tool.handle());
    let (_, ()) = tokio::join!(text_of(stack, call()), async {
        tokio::time::sleep(ms(10)).await;
        tool.set_readiness(Readiness::Ready);
    });
    let times: Vec<_> = events
        .values()
        .iter()
        .map(|event| event.at - start)
        .collect();
    assert_eq!(times, [ms(5), ms(15), ms(35)]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_call_has_the_reason_of_its_handle() {
    let (layer, events) = recorded();
    let call = call();
    let canceller = call.canceller();
    let response = tokio::spawn(layer.layer(ScriptedTool::pending()).oneshot(call));
    tokio::time::sleep(ms(10)).await;
    canceller.cancel();
    assert!(response.await.unwrap().is_err());
    let EventKind::Cancelled {
        reason,
        started,
        error,
        ..
    } = terminal(&events)
    else {
        unreachable!("not cancelled: {events:?}");
    };
    assert_eq!(
        (reason, started, error.is_some()),
        (CancelReason::Explicit, true, true)
    );
}

/// A call that is dropped does not wait for the thread that runs its tool, or its retry policy.
#[tokio::test(start_paused = true)]
async fn nothing_of_the_tool_follows_the_terminal_event() {
    let (layer, events) = recorded();
    let inner = ConcurrencyLimitLayer::new(1).layer(ScriptedTool::ready());
    let call = call();
    // Attempts inside of the events layer are over with it.
    let (context, fork) = (call.context().clone(), Recorder::new());
    let forked = fork.clone();
    let forks = tower::service_fn(move |call: ToolCall| {
        let fork = call.clone();
        for call in [&call, &fork] {
            forked.record(call.context().clone());
        }
        inner.clone().oneshot(fork)
    });
    text_of(layer.layer(forks), call).await;
    let names = events.names();
    assert_eq!(names.last(), Some(&"tool.completed"));
    for context in fork.values().iter().chain([&context]) {
        context.report_retry(ms(5), || Ok(None));
        context.emit("late");
        context.progress(1, 2, None);
        context.heartbeat();
    }
    assert_eq!(events.names(), names);
}
