//! The layer as a handle: what clones share, manual changes, and listeners.

use super::*;
use BreakerState::{Closed, Disabled, HalfOpen, Open};

/// Records every state change of a breaker.
fn record_changes(breaker: &CircuitBreakerLayer) -> Recorder<(BreakerState, BreakerState)> {
    let changes = Recorder::new();
    let recorder = changes.clone();
    breaker.on_state_change(move |change| recorder.record((change.from, change.to)));
    changes
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_one_breaker() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let one = breaker.layer(fails("down"));
    let other = breaker.clone().layer(ScriptedTool::ready());
    assert_eq!(calls(&one, 1).await, [FAILED]);
    assert_eq!(calls(&one.clone(), 1).await, [FAILED]);
    assert_eq!(calls(&other, 1).await, [REJECTED]);
    let new = CircuitBreakerLayer::with_policy(two());
    assert_eq!(calls(&new.layer(ScriptedTool::ready()), 1).await, [OK]);
}

#[tokio::test(start_paused = true)]
async fn trip_reset_and_disable_take_effect_at_once() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let service = breaker.layer(fails("down"));
    let changes = record_changes(&breaker);
    breaker.trip();
    assert_eq!(calls(&service, 1).await, [REJECTED]);
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [FAILED]);
    // A reset clears the count.
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [FAILED]);
    assert_eq!(breaker.state(), Closed);
    breaker.disable();
    assert_eq!(calls(&service, 10).await, [FAILED; 10]);
    assert_eq!(breaker.state(), Disabled);
    breaker.trip();
    breaker.disable();
    breaker.reset();
    assert_eq!(calls(&service, 3).await, [FAILED, FAILED, REJECTED]);
    let expected = [
        (Closed, Open),
        (Open, Closed),
        (Closed, Disabled),
        (Disabled, Open),
        (Open, Disabled),
        (Disabled, Closed),
        (Closed, Open),
    ];
    assert_eq!(changes.values(), expected);
}

#[tokio::test(start_paused = true)]
async fn listener_receives_every_change_in_order_with_its_open_time() {
    let fails = Arc::new(AtomicBool::new(true));
    let breaker = CircuitBreakerLayer::with_policy(two());
    let service = breaker.layer(flaky(&fails));
    let changes = Recorder::new();
    let recorder = changes.clone();
    breaker.on_state_change(move |change| {
        assert!(change.key.is_none());
        recorder.record((change.from, change.to, change.open_for));
    });
    calls(&service, 2).await;
    advance(OPEN).await;
    calls(&service, 1).await;
    advance(OPEN).await;
    fails.store(false, Ordering::SeqCst);
    calls(&service, 1).await;
    let expected = [
        (Closed, Open, Some(OPEN)),
        (Open, HalfOpen, None),
        (HalfOpen, Open, Some(OPEN)),
        (Open, HalfOpen, None),
        (HalfOpen, Closed, None),
    ];
    assert_eq!(changes.values(), expected);
}

#[tokio::test(start_paused = true)]
async fn listener_may_use_the_layer_and_may_panic() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let handle = breaker.clone();
    breaker.on_state_change(move |change| {
        assert_eq!(handle.state(), change.to);
        if change.to == Open {
            handle.reset();
            panic!("in the listener");
        }
    });
    let changes = record_changes(&breaker);
    let service = breaker.layer(fails("down"));
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    assert_eq!(breaker.state(), Closed);
    let twice = [
        (Closed, Open),
        (Open, Closed),
        (Closed, Open),
        (Open, Closed),
    ];
    assert_eq!(changes.values(), twice);
}

#[tokio::test(start_paused = true)]
async fn calls_started_before_a_change_count_no_more() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let (mut service, mut handle) = mock(&breaker);
    let mut old: Vec<_> = (0..3).map(|_| task::spawn(service.call(call()))).collect();
    breaker.trip();
    breaker.reset();
    for call in &mut old {
        let (_, response) = handle.next_request().await.unwrap();
        response.send_error("down");
        assert!(call.poll().is_ready());
    }
    assert_eq!(breaker.state(), Closed);
}
