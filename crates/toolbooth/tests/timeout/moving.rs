//! Limits that move, poll by poll.

use std::time::Duration;

use tokio_test::{assert_pending, assert_ready};
use toolbooth::{PartialResultLayer, TimeoutLayer, TimeoutScope, ToolOutput};
use tower::{Layer, Service};

use super::*;

every_layer!(
    TimeoutLayer::new(ms(3_000))
        .with_idle(ms(1_000))
        .with_first_item(ms(2_000))
        .with_grace(ms(500))
);

fn idle(limit: u64) -> TimeoutLayer {
    TimeoutLayer::unlimited().with_idle(ms(limit))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_beat_touches_no_timer_and_wakes_nobody_and_moves_the_limit() {
    let (mut service, _handle) = mock(&idle(1_000));
    let call = call();
    let context = call.context().clone();
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(future.poll());
    tokio::time::advance(ms(600)).await;
    context.heartbeat();
    context.emit("piece");
    context.snapshot("half");
    context.progress(1, 2, None);
    assert!(!future.is_woken());
    // The timer fires where it was set, looks, and is set anew.
    tokio::time::advance(ms(400)).await;
    assert!(future.is_woken());
    assert_pending!(future.poll());
    tokio::time::advance(ms(599)).await;
    assert!(!future.is_woken());
    tokio::time::advance(ms(1)).await;
    assert!(future.is_woken());
    let struck = error(assert_ready!(future.poll()));
    assert_eq!(limit(&struck), (TimeoutScope::Idle, 1_000, 1_600));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_beat_at_the_very_limit_counts_if_the_tool_is_polled_before() {
    let (mut service, mut handle) = mock(&idle(1_000));
    let call = call();
    let context = call.context().clone();
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(future.poll());
    tokio::time::advance(ms(1_000)).await;
    context.heartbeat();
    assert_pending!(future.poll());
    tokio::time::advance(ms(999)).await;
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_grace_has_one_timer_of_its_own_and_takes_the_late_answer() {
    let layer = TimeoutLayer::new(ms(1_000)).with_grace(ms(200));
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(future.poll());
    tokio::time::advance(ms(1_000)).await;
    assert!(!context.is_cancelled());
    assert!(future.is_woken());
    assert_pending!(future.poll());
    assert!(context.is_cancelled());
    tokio::time::advance(ms(199)).await;
    assert!(!future.is_woken());
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("late"));
    assert!(future.is_woken());
    let struck = error(assert_ready!(future.poll()));
    assert_eq!(limit(&struck), (TimeoutScope::Total, 1_000, 1_199));
    assert_eq!(texts(struck.partial().unwrap().contents()), ["late"]);
    assert_eq!(outcomes.all().await, [toolbooth::Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_answer_ready_at_the_end_of_the_grace_is_taken_and_a_millisecond_later_it_is_not() {
    let answers_after = |time| {
        let layer = TimeoutLayer::new(ms(1_000)).with_grace(ms(200));
        let probe = ScriptedTool::new(move |_| async move {
            tokio::time::sleep(ms(time)).await;
            Ok(ToolOutput::text("late"))
        });
        let mut service = layer.layer(PartialResultLayer::new().layer(probe));
        async move { error(service.call(call()).await) }
    };
    let taken = answers_after(1_200).await;
    assert_eq!(limit(&taken), (TimeoutScope::Total, 1_000, 1_200));
    assert!(taken.partial().is_some());
    let late = answers_after(1_201).await;
    assert_eq!(limit(&late), (TimeoutScope::Total, 1_000, 1_200));
    assert!(late.partial().is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_limit_at_the_very_end_of_the_clock_never_strikes_and_never_panics() {
    let centuries = Duration::from_secs(u64::MAX / 1_000_000_000 / 2);
    for limit in [Duration::MAX, centuries, centuries.saturating_sub(ms(1))] {
        let layer = TimeoutLayer::unlimited()
            .with_idle(limit)
            .with_first_item(limit)
            .with_grace(limit);
        let (mut service, mut handle) = mock(&layer);
        let call = call();
        let context = call.context().clone();
        let mut future = tokio_test::task::spawn(service.call(call));
        assert_pending!(future.poll());
        tokio::time::advance(Duration::from_secs(1 << 25)).await;
        context.heartbeat();
        assert_pending!(future.poll());
        let (_, send) = handle.next_request().await.unwrap();
        send.send_response(ToolOutput::text("done"));
        assert_eq!(text(assert_ready!(future.poll())).await, "done");
    }
}

#[test]
fn a_call_that_need_not_wait_makes_no_timer_for_a_limit_that_moves() {
    // There is no time driver here: a timer would panic.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let layer = idle(10).with_first_item(ms(10)).with_grace(ms(10));
        let mut service = layer.layer(ScriptedTool::ready());
        assert_eq!(text(service.call(call()).await).await, "done");
    });
}
