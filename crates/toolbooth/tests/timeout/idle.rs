//! Idle limits and the grace period, poll by poll.

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
async fn heartbeat_extends_the_limit_without_a_wakeup() {
    let (mut service, _handle) = mock(&idle(1_000));
    let call = call();
    let context = call.context().clone();
    let mut future = task::spawn(service.call(call));
    assert_pending!(future.poll());
    advance(ms(600)).await;
    context.heartbeat();
    context.emit("item");
    context.snapshot("half");
    context.progress(1, 2, None);
    assert!(!future.is_woken());
    // The timer fires at the old limit, and is reset to the new one.
    advance(ms(400)).await;
    assert!(future.is_woken());
    assert_pending!(future.poll());
    advance(ms(599)).await;
    assert!(!future.is_woken());
    advance(ms(1)).await;
    assert!(future.is_woken());
    let expired = error(assert_ready!(future.poll()));
    assert_eq!(timeout(&expired), (IDLE, 1_000, 1_600));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn heartbeat_at_the_limit_counts_before_the_next_poll() {
    let (mut service, mut handle) = mock(&idle(1_000));
    let call = call();
    let context = call.context().clone();
    let mut future = task::spawn(service.call(call));
    assert_pending!(future.poll());
    advance(ms(1_000)).await;
    context.heartbeat();
    assert_pending!(future.poll());
    advance(ms(999)).await;
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_within_the_grace_period_is_the_partial_result() {
    let layer = TimeoutLayer::new(ms(1_000)).with_grace(ms(200));
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let mut future = task::spawn(service.call(call));
    assert_pending!(future.poll());
    advance(ms(1_000)).await;
    assert!(!context.is_cancelled());
    assert!(future.is_woken());
    assert_pending!(future.poll());
    assert!(context.is_cancelled());
    advance(ms(199)).await;
    assert!(!future.is_woken());
    respond(&mut handle, ToolOutput::text("late")).await;
    assert!(future.is_woken());
    let expired = error(assert_ready!(future.poll()));
    assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_199));
    assert_eq!(texts(expired.partial().unwrap().contents()), ["late"]);
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn grace_period_is_exact() {
    for (time, is_taken) in [(1_200, true), (1_201, false)] {
        let layer = TimeoutLayer::new(ms(1_000)).with_grace(ms(200));
        let service = layer.layer(PartialResultLayer::new().layer(takes(ms(time))));
        let expired = error_of(service, call()).await;
        assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_200));
        assert_eq!(expired.partial().is_some(), is_taken);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn start_of_a_grace_period_is_an_event() {
    let seen = Recorder::new();
    let sink = {
        let seen = seen.clone();
        move |event: &Event| match &event.kind {
            EventKind::Expired { layer, limit } => seen.record(format!("{layer} of {limit:?}")),
            _ => seen.record(event.name().to_owned()),
        }
    };
    let timeout = TimeoutLayer::new(ms(1_000)).with_grace(ms(200));
    let service = EventsLayer::new(sink).layer(timeout.layer(takes(ms(5_000))));
    error_of(service, call()).await;
    let expected = [
        (0, "tool.invoked"),
        (0, "tool.started"),
        (1_000, "timeout of 1s"),
        (1_200, "tool.timed_out"),
    ];
    let expected = expected.map(|(at, event)| (ms(at), event.to_owned()));
    assert_eq!(seen.entries(), expected);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn idle_limit_at_the_end_of_the_clock_never_expires_and_does_not_panic() {
    let centuries = Duration::from_secs(u64::MAX / 1_000_000_000 / 2);
    for limit in [Duration::MAX, centuries, centuries.saturating_sub(ms(1))] {
        let layer = TimeoutLayer::unlimited()
            .with_idle(limit)
            .with_first_item(limit)
            .with_grace(limit);
        let (mut service, mut handle) = mock(&layer);
        let call = call();
        let context = call.context().clone();
        let mut future = task::spawn(service.call(call));
        assert_pending!(future.poll());
        advance(Duration::from_secs(1 << 25)).await;
        context.heartbeat();
        assert_pending!(future.poll());
        respond(&mut handle, ToolOutput::text("done")).await;
        assert_eq!(text(assert_ready!(future.poll())).await, "done");
    }
}
