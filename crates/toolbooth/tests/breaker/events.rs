//! The events of changes of the state.

use futures_util::FutureExt;
use toolbooth::{Event, PerTool};

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn each_change_is_delivered_with_its_reason() {
    let events = EventLines::new();
    let breaker = CircuitBreakerLayer::with_policy(two()).with_events(events.clone());
    let down = Arc::new(AtomicBool::new(true));
    let service = breaker.layer(flaky(&down));
    advance(ms(5)).await;
    assert_eq!(calls(&service, 3).await, [FAILED, FAILED, REJECTED]);
    advance(OPEN).await;
    // The probe.
    assert_eq!(calls(&service, 2).await, [FAILED, REJECTED]);
    advance(OPEN).await;
    down.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    breaker.trip();
    breaker.clone().reset();
    breaker.disable();
    // No change.
    breaker.disable();

    assert_eq!(
        events.take(),
        [
            "5 breaker.changed breaker - closed open failures",
            "30005 breaker.changed breaker - open half_open open_time",
            "30005 breaker.changed breaker - half_open open probe_failed",
            "60005 breaker.changed breaker - open half_open open_time",
            "60005 breaker.changed breaker - half_open closed probes_succeeded",
            "60005 breaker.changed breaker - closed open by_hand",
            "60005 breaker.changed breaker - open closed by_hand",
            "60005 breaker.changed breaker - closed disabled by_hand",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_rule_that_opens_a_breaker_is_named() {
    let events = EventLines::new();
    let window = Duration::from_secs(60);
    let rate = BreakerPolicy::new().with_minimum_calls(2);
    let rate = rate.with_failure_rate(0.9, window).unwrap();
    let slow = BreakerPolicy::new().with_minimum_calls(2);
    let slow = slow.with_slow_calls(ms(10), 0.9, window).unwrap();
    let cool_down = BreakerPolicy::new().with_cool_down(OPEN);
    let expired = two().with_half_open_limit(ms(50)).unwrap();
    let policies = PerTool::none()
        .with("rate", rate)
        .with("slow", slow)
        .with("cool_down", cool_down)
        .with("expired", expired);
    let breaker = CircuitBreakerLayer::per_tool(policies).with_events(events.clone());
    let tool = ScriptedTool::new(|call: ToolCall| async move {
        match call.context().tool() {
            "slow" => tokio::time::sleep(ms(10)).await,
            "cool_down" => return Err(ToolError::rate_limited(ms(500)).into()),
            "expired" => tokio::time::sleep(ms(60)).await,
            _ => return Err("down".into()),
        }
        Ok(ToolOutput::text("done"))
    });
    let service = breaker.layer(tool);
    for (tool, calls) in [("rate", 2), ("slow", 2), ("cool_down", 1)] {
        for _ in 0..calls {
            let _ = service.clone().oneshot(toolbooth_test::call(tool)).await;
        }
    }
    breaker.breaker_for("expired").unwrap().trip();
    advance(OPEN).await;
    let _ = service.oneshot(toolbooth_test::call("expired")).await;

    assert_eq!(
        events.take(),
        [
            "0 breaker.changed breaker rate closed open failure_rate",
            "20 breaker.changed breaker slow closed open slow_calls",
            "20 breaker.changed breaker cool_down closed open cool_down",
            "20 breaker.changed breaker expired closed open by_hand",
            "30020 breaker.changed breaker expired open half_open open_time",
            "30080 breaker.changed breaker expired half_open open probe_expired",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn events_have_the_name_that_the_layer_had_before_it_was_shared() {
    let events = EventLines::new();
    let first = CircuitBreakerLayer::new()
        .with_events(events.clone())
        .with_name("first");
    let second = first.clone().with_name("second");
    assert_eq!((first.name(), second.name()), ("first", "second"));
    second.trip();
    // By key, and for a clone made before.
    let keyed = CircuitBreakerLayer::by(two(), |call| call.id()).with_name("keyed");
    let clone = keyed.clone();
    let _keyed = keyed.with_events(events.clone());
    clone.breaker_for("one").unwrap().trip();

    assert_eq!(
        events.take(),
        [
            "0 breaker.changed first - closed open by_hand",
            "0 breaker.changed keyed one closed open by_hand",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sink_may_panic_and_may_use_the_breaker() {
    let events = EventLines::new();
    let breaker = CircuitBreakerLayer::with_policy(two());
    let inner = breaker.clone();
    let breaker = breaker
        .with_events(|_: &Event| panic!("a sink"))
        .with_events(move |_: &Event| {
            if inner.state() == BreakerState::Open {
                inner.reset();
            }
        })
        .with_events(events.clone());
    let service = breaker.layer(fails("down"));
    assert_eq!(calls(&service, 3).await, [FAILED; 3]);
    assert_eq!(
        events.take(),
        [
            "0 breaker.changed breaker - closed open failures",
            "0 breaker.changed breaker - open closed by_hand",
        ]
    );
}

/// Each key makes room for the next one, in each state.
#[tokio::test(start_paused = true)]
async fn breaker_whose_key_is_forgotten_reports_that_it_closed() {
    let events = EventLines::new();
    let breaker = CircuitBreakerLayer::by(two(), |call| call.id())
        .with_key_bounds(1, Duration::from_secs(60))
        .with_events(events.clone());
    let service = breaker.layer(ScriptedTool::pending());
    let key = |key: &str| breaker.breaker_for(key).unwrap();
    key("open").trip();
    advance(OPEN).await;
    key("half_open").trip();
    advance(OPEN).await;
    let probe = service.clone().oneshot(call().with_id("half_open"));
    assert!(probe.now_or_never().is_none());
    key("disabled").disable();
    key("closed").trip();
    key("closed").reset();
    let _last = key("last");

    assert_eq!(
        events.take(),
        [
            "0 breaker.changed breaker open closed open by_hand",
            "30000 breaker.changed breaker open open closed forgotten",
            "30000 breaker.changed breaker half_open closed open by_hand",
            "60000 breaker.changed breaker half_open open half_open open_time",
            "60000 breaker.changed breaker half_open half_open closed forgotten",
            "60000 breaker.changed breaker disabled closed disabled by_hand",
            "60000 breaker.changed breaker closed closed open by_hand",
            "60000 breaker.changed breaker closed open closed by_hand",
        ]
    );
}
