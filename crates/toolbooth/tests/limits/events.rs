//! The events of changes of limits.

use toolbooth::{Event, PerTool};

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn each_change_of_a_concurrency_limit_is_delivered() {
    let events = EventLines::new();
    let before = ConcurrencyLimitLayer::per_tool(PerTool::new(3).with("browser", 1));
    let limit = before
        .clone()
        .with_events(events.clone())
        .with_name("slots");
    limit.set_limit(5).unwrap();
    sleep(ms(10)).await;
    limit.clone().set_limit_for("browser", 2).unwrap();
    limit.set_limit_for("browser", None).unwrap();
    limit.set_queue_capacity(64);
    limit.set_max_wait(ms(1_500));
    limit.set_max_wait(None);
    limit.set_order(Order::priority().with_aging(ms(100)));
    limit.set_order(Order::fair_by(tenant));
    limit.set_order(Order::fifo());
    limit.set_service_time(ms(20));
    // What is rejected is no change, and the value before has no sink.
    limit.set_limit(0).unwrap_err();
    before.set_limit(1).unwrap();

    assert_eq!(
        events.take(),
        [
            "0 limit.changed slots - = 5 at once",
            "10 limit.changed slots browser = 2 at once",
            "10 limit.changed slots browser = -",
            "10 limit.changed slots queue_capacity = 64",
            "10 limit.changed slots max_wait = 1.5s",
            "10 limit.changed slots max_wait = -",
            "10 limit.changed slots order = priority, aging 100ms",
            "10 limit.changed slots order = fair",
            "10 limit.changed slots order = fifo",
            "10 limit.changed slots service_time = 20ms",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_rate_is_delivered() {
    let events = EventLines::new();
    let rate = RateLimitLayer::new(quota(10, 1)).with_events(events.clone());
    rate.set_quota(quota(4, 2)).unwrap();
    rate.set_quota(None).unwrap();
    rate.set_quota_for("search", None).unwrap_err();
    rate.set_queue_capacity(3);
    rate.set_max_wait(ms(5));
    rate.set_order(Order::priority());
    let by_tool = RateLimitLayer::per_tool(quota(10, 1)).with_events(events.clone());
    by_tool.set_quota_for("search", quota(2, 1)).unwrap();
    // Without a limit nothing changes.
    let none = RateLimitLayer::new(None).with_events(events.clone());
    none.set_queue_capacity(3);
    none.set_quota(quota(1, 1)).unwrap_err();

    assert_eq!(
        events.take(),
        [
            "0 limit.changed rate - = a token every 250ms, burst of 2",
            "0 limit.changed rate - = -",
            "0 limit.changed rate queue_capacity = 3",
            "0 limit.changed rate max_wait = 5ms",
            "0 limit.changed rate order = priority",
            "0 limit.changed rate search = a token every 500ms, burst of 1",
        ]
    );
}

/// A sink that changes the limit again, and one that panics.
#[tokio::test(start_paused = true)]
async fn sink_of_a_change_runs_without_a_lock_and_may_panic() {
    let events = EventLines::new();
    let limit = ConcurrencyLimitLayer::per_tool(1);
    let inner = limit.clone();
    let limit = limit
        .with_events(|_: &Event| panic!("a sink"))
        .with_events(move |_: &Event| inner.set_limit_for("browser", 7).unwrap())
        .with_events(events.clone());
    limit.set_limit(2).unwrap();
    assert_eq!(events.take(), ["0 limit.changed concurrency - = 2 at once"]);
    assert_eq!(limit.available_for("browser"), 7);
}

#[tokio::test(start_paused = true)]
async fn full_table_of_keys_is_delivered_once_each_time_it_begins() {
    let events = EventLines::new();
    let limit = ConcurrencyLimitLayer::by(PerTool::new(1).with("named", 1), tenant)
        .with_key_bounds(2, ms(1_000))
        .with_events(events.clone());
    let stack = limit.layer(SlowTool::new(ms(100)));
    let of = |tenant: &str| call("tool").with_tenant(tenant);
    let run = |tenants: &[&str]| {
        let calls: Vec<_> = tenants.iter().map(|tenant| of(tenant)).collect();
        call_all(stack.clone(), calls)
    };
    assert_eq!(count_ok(&run(&["a", "b"]).await), 2);
    assert_eq!(events.take(), [""; 0]);

    // The named key needs no room, and ends nothing.
    let finished = run(&["a", "b", "c", "d", "named", "e"]).await;
    assert_eq!(count_ok(&finished), 6);
    let full = ["100 limit.changed concurrency more than 2 keys"];
    assert_eq!(events.take(), full);

    // `a` and `b` are at rest: `f` and `g` find room, and `h` does not.
    run(&["f", "g", "h", "i"]).await;
    let full = ["400 limit.changed concurrency more than 2 keys"];
    assert_eq!(events.take(), full);
}

/// The sink makes a call with a new key.
#[tokio::test(start_paused = true)]
async fn sink_of_a_full_table_of_keys_runs_without_a_lock() {
    let limit = RateLimitLayer::by(quota(1, 1), tenant).with_key_bounds(1, ms(1_000));
    let inner = limit.clone();
    let remaining = Recorder::new();
    let recorder = remaining.clone();
    let limit = limit.with_events(move |_: &Event| {
        inner.set_quota(quota(1, 5)).unwrap();
        recorder.record((inner.remaining_for("a"), inner.remaining_for("new")));
    });
    let calls = ["a", "b"].map(|tenant| call("tool").with_tenant(tenant));
    let finished = call_all(limit.layer(FastTool::new()), calls).await;
    assert_eq!(count_ok(&finished), 2);
    assert_eq!(remaining.values(), [(4, 5)]);
}
