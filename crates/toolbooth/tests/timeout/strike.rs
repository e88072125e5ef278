//! What happens when the limit strikes.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready};
use toolbooth::{
    BoxError, CancelReason, Outcome, PartialResultLayer, TimeoutLayer, ToolOutput, tool_fn,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::support::Readiness;
use super::support::laws::on_drop;
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_is_cancelled_then_the_tool_is_dropped_then_the_error_returned() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&seen);
    let probe = ScriptedTool::new(move |call| {
        let seen = Arc::clone(&tell);
        async move {
            let context = call.context().clone();
            context.emit("half");
            let _on_drop = on_drop(move || {
                seen.lock().unwrap().push(context.cancel_reason());
                // Nobody had looked at what was kept yet: the last words still count.
                context.emit("last words");
            });
            std::future::pending::<Result<ToolOutput, BoxError>>().await
        }
    });
    let mut stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(300)))
        .layer(PartialResultLayer::new())
        .service(probe.handle());
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let mut future = Box::pin(stack.call(call));

    // Polled by reference, and kept.
    let struck = error((&mut future).await);
    assert_eq!(*seen.lock().unwrap(), [Some(CancelReason::Timeout)]);
    assert_eq!(probe.probe().finished(), 1);
    assert_eq!(context.cancel_reason(), Some(CancelReason::Timeout));
    assert_eq!(
        texts(struck.partial().unwrap().contents()),
        ["half", "last words"]
    );
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    drop(future);
    assert_eq!(
        (probe.probe().finished(), seen.lock().unwrap().len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn who_waits_for_the_cancellation_is_woken_by_the_limit() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(300)));
    let call = call();
    let context = call.context().clone();
    let mut cancelled = tokio_test::task::spawn(async move { context.cancelled().await });
    assert_pending!(cancelled.poll());
    let start = Instant::now();
    error(service.call(call).await);
    assert!(cancelled.is_woken());
    assert_ready!(cancelled.poll());
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_bounds_the_readiness_of_what_is_inside() {
    let probe = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut service = TimeoutLayer::new(ms(300)).layer(probe.handle());
    let start = Instant::now();
    let struck = error(service.call(call()).await);
    assert_eq!(limit(&struck), (TimeoutScope::Total, 300, 300));
    assert_eq!(start.elapsed(), ms(300));
    assert!(probe.log().calls.is_empty());
    probe.set_readiness(Readiness::Ready);
    assert_eq!(text(service.call(call()).await).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_strikes_a_tool_that_only_exhausts_its_budget() {
    let busy = tool_fn("busy", async |_: ()| -> Result<(), BoxError> {
        loop {
            tokio::task::consume_budget().await;
        }
    });
    let mut service = TimeoutLayer::new(ms(300)).layer(busy);
    let mut future = Box::pin(service.call(call()));
    assert_pending!(futures_util::poll!(&mut future));
    tokio::time::advance(ms(299)).await;
    assert_pending!(futures_util::poll!(&mut future));
    tokio::time::advance(ms(1)).await;
    let struck = error(assert_ready!(futures_util::poll!(&mut future)));
    assert_eq!(limit(&struck), (TimeoutScope::Total, 300, 300));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_tools_own_timeout_stays_a_failure_of_the_tool() {
    let slow = tool_fn("slow", async |_: ()| {
        let late = tokio::time::timeout(ms(10), std::future::pending::<()>()).await;
        late.map_err(BoxError::from)
    });
    let failed = error(TimeoutLayer::new(ms(300)).layer(slow).oneshot(call()).await);
    assert_eq!(failed.kind(), toolbooth::ErrorKind::Tool);
    assert_eq!(failed.outcome(), Outcome::Failed);
}

#[test]
fn a_call_that_need_not_wait_makes_no_timer() {
    // There is no time driver here: a timer would panic.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stack = TimeoutLayer::new(ms(1_000))
            .layer(TimeoutLayer::new(ms(10)).layer(ScriptedTool::ready()));
        assert_eq!(text(stack.oneshot(call()).await).await, "done");
    });
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_call_that_waits_without_a_time_driver_panics_as_tokio_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let answer = TimeoutLayer::new(ms(1_000))
            .layer(ScriptedTool::pending())
            .oneshot(call())
            .await;
        drop(answer);
    });
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_share_the_settings_and_no_call() {
    let layer = TimeoutLayer::new(ms(100));
    let (service, mut handle) = mock(&layer.clone());
    let (mut one, mut other) = (service.clone(), service);
    let mut first = tokio_test::task::spawn(one.call(call()));
    assert_pending!(first.poll());
    tokio::time::advance(ms(60)).await;
    let mut second = tokio_test::task::spawn(other.call(call()));
    assert_pending!(second.poll());
    tokio::time::advance(ms(40)).await;
    assert_eq!(limit(&error(assert_ready!(first.poll()))).2, 100);
    assert_pending!(second.poll());
    let _first = handle.next_request().await.unwrap();
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    let answer: Response = assert_ready!(second.poll());
    assert_eq!(text(answer).await, "done");
}
