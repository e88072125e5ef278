//! What happens when a limit expires.

use toolbooth::{CancelReason, tool_fn};

use super::support::{Recorder, on_drop};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_is_cancelled_then_the_tool_dropped_then_the_error_returned() {
    let reasons = Recorder::new();
    let recorder = reasons.clone();
    let tool = ScriptedTool::new(move |call| {
        let (context, recorder) = (call.context().clone(), recorder.clone());
        async move {
            context.emit("half");
            let _on_drop = on_drop(|| {
                recorder.record(context.cancel_reason());
                // The partial result is not taken yet: this item still counts.
                context.emit("last");
            });
            std::future::pending().await
        }
    });
    let stack = PartialResultLayer::new().layer(tool.handle());
    let mut stack = TimeoutLayer::new(ms(300)).layer(stack);
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let mut future = Box::pin(stack.call(call));

    // The future is polled by reference, and stays alive.
    let expired = error((&mut future).await);
    assert_eq!(reasons.values(), [Some(CancelReason::Timeout)]);
    assert_eq!(tool.probe().finished(), 1);
    assert_eq!(context.cancel_reason(), Some(CancelReason::Timeout));
    assert_eq!(
        texts(expired.partial().unwrap().contents()),
        ["half", "last"]
    );
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    drop(future);
    assert_eq!((tool.probe().finished(), reasons.len()), (1, 1));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn expiry_wakes_a_task_that_waits_for_the_cancellation() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(300)));
    let call = call();
    let context = call.context().clone();
    let mut cancelled = task::spawn(async move { context.cancelled().await });
    assert_pending!(cancelled.poll());
    let start = Instant::now();
    error(service.call(call).await);
    assert!(cancelled.is_woken());
    assert_ready!(cancelled.poll());
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_includes_the_wait_for_the_inner_service() {
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let service = TimeoutLayer::new(ms(300)).layer(tool.handle());
    let start = Instant::now();
    let expired = error_of(service.clone(), call()).await;
    assert_eq!(timeout(&expired), (TOTAL, 300, 300));
    assert_eq!(start.elapsed(), ms(300));
    assert!(tool.log().calls.is_empty());
    tool.set_readiness(Readiness::Ready);
    assert_eq!(text_of(service, call()).await, "done");
}

/// Guarantee T7.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_ends_a_tool_that_only_exhausts_its_cooperative_budget() {
    let busy = tool_fn("busy", async |_: ()| -> Result<(), BoxError> {
        loop {
            tokio::task::consume_budget().await;
        }
    });
    let mut service = TimeoutLayer::new(ms(300)).layer(busy);
    let mut future = Box::pin(service.call(call()));
    assert_pending!(futures_util::poll!(&mut future));
    advance(ms(299)).await;
    assert_pending!(futures_util::poll!(&mut future));
    advance(ms(1)).await;
    let expired = error(assert_ready!(futures_util::poll!(&mut future)));
    assert_eq!(timeout(&expired), (TOTAL, 300, 300));
}

/// Guarantee T6.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_inside_a_tool_is_a_failure_of_the_tool() {
    let slow = tool_fn("slow", async |_: ()| {
        let late = tokio::time::timeout(ms(10), std::future::pending::<()>()).await;
        late.map_err(BoxError::from)
    });
    let failed = error_of(TimeoutLayer::new(ms(300)).layer(slow), call()).await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(failed.outcome(), Outcome::Failed);
}

#[test]
fn call_that_completes_at_its_first_poll_creates_no_timer() {
    runtime_without_time().block_on(async {
        let all = TimeoutLayer::new(ms(10))
            .with_idle(ms(10))
            .with_first_item(ms(10))
            .with_grace(ms(10));
        let stack = TimeoutLayer::new(ms(1_000)).layer(all.layer(ScriptedTool::ready()));
        assert_eq!(text_of(stack, call()).await, "done");
    });
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn call_that_waits_without_a_time_driver_panics_like_tokio() {
    runtime_without_time().block_on(async {
        let stack = TimeoutLayer::new(ms(1_000)).layer(ScriptedTool::pending());
        drop(stack.oneshot(call()).await);
    });
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_share_their_settings_and_no_call() {
    let layer = TimeoutLayer::new(ms(100));
    let (service, mut handle) = mock(&layer.clone());
    let (mut one, mut other) = (service.clone(), service);
    let mut first = task::spawn(one.call(call()));
    assert_pending!(first.poll());
    advance(ms(60)).await;
    let mut second = task::spawn(other.call(call()));
    assert_pending!(second.poll());
    advance(ms(40)).await;
    let expired = error(assert_ready!(first.poll()));
    assert_eq!(timeout(&expired), (TOTAL, 100, 100));
    assert_pending!(second.poll());
    let _first = handle.next_request().await.unwrap();
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(second.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_has_the_time_since_the_expiry_of_its_limit() {
    let hanging = || ScriptedTool::new(|_| std::future::pending());
    let exact = TimeoutLayer::new(ms(300)).layer(hanging());
    assert_eq!(error(exact.oneshot(call()).await).overshoot(), Some(ms(0)));

    let grace = TimeoutLayer::new(ms(300)).with_grace(ms(40));
    let timeout = error(grace.layer(hanging()).oneshot(call()).await);
    assert_eq!(timeout.overshoot(), Some(ms(40)));

    // A task that polls its call late.
    let mut late = TimeoutLayer::new(ms(300)).layer(hanging());
    let mut late = task::spawn(late.call(call()));
    assert_pending!(late.poll());
    tokio::time::sleep(ms(350)).await;
    let timeout = error(assert_ready!(late.poll()));
    assert_eq!(timeout.overshoot(), Some(ms(50)));

    let fails = tool_fn("tool", async |_: ()| Err::<(), _>("it failed"));
    let failed = TimeoutLayer::new(ms(300)).layer(fails);
    assert_eq!(error(failed.oneshot(call()).await).overshoot(), None);
}
