//! The order of the queue: priority, aging, fairness between keys, and controls without them.

#![expect(clippy::needless_pass_by_value, reason = "ids are numbers or texts")]

use super::*;

fn low(id: impl ToString) -> ToolCall {
    call("tool").with_id(format!("low{}", id.to_string()))
}

fn high(id: impl ToString) -> ToolCall {
    let id = format!("high{}", id.to_string());
    call("tool").with_id(id).with_priority(10)
}

fn of(tenant: &str, id: impl ToString) -> ToolCall {
    let id = format!("{tenant}{}", id.to_string());
    call("tool").with_id(id).with_tenant(tenant)
}

fn by_tenant() -> Order {
    Order::fair_by(|call| call.tenant().unwrap_or_default().into())
}

/// The starts of calls of 100 ms, made at once under a limit of one.
async fn starts(order: Order, calls: impl IntoIterator<Item = ToolCall>) -> Vec<(u64, String)> {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1).with_order(order);
    call_all(limit.layer(recording(&starts)), calls).await;
    assert_eq!((limit.available(), limit.queued()), (1, 0));
    entries(&starts)
}

fn entries(starts: &Recorder<String>) -> Vec<(u64, String)> {
    let millis =
        |(at, id): (Duration, String)| (u64::try_from(at.as_millis()).expect("a few seconds"), id);
    starts.entries().into_iter().map(millis).collect()
}

fn expected(starts: impl IntoIterator<Item = (u64, &'static str)>) -> Vec<(u64, String)> {
    starts
        .into_iter()
        .map(|(at, id)| (at, id.to_owned()))
        .collect()
}

/// Starts in this order, one every 100 ms.
fn every_100_ms(ids: impl IntoIterator<Item = &'static str>) -> Vec<(u64, String)> {
    expected((0..).zip(ids).map(|(n, id)| (100 * n, id)))
}

/// Control.
#[tokio::test(start_paused = true)]
async fn fifo_ignores_priorities() {
    let calls = (0..5).map(low).chain([high(0)]);
    let order = ["low0", "low1", "low2", "low3", "low4", "high0"];
    assert_eq!(starts(Order::fifo(), calls).await, every_100_ms(order));
}

#[tokio::test(start_paused = true)]
async fn call_of_high_priority_waits_for_one_running_call() {
    let calls = (0..5).map(low).chain([high(0)]);
    let order = ["low0", "high0", "low1", "low2", "low3", "low4"];
    assert_eq!(starts(Order::priority(), calls).await, every_100_ms(order));
}

#[tokio::test(start_paused = true)]
async fn calls_of_equal_priority_are_first_in_first_out() {
    let calls = [
        (0, 0),
        (1, -7),
        (2, 5),
        (3, 5),
        (4, 0),
        (5, i32::MAX),
        (6, i32::MIN),
        (7, 5),
    ];
    let calls = calls.map(|(id, priority)| low(id).with_priority(priority));
    let order = [
        "low0", "low5", "low2", "low3", "low7", "low4", "low1", "low6",
    ];
    assert_eq!(starts(Order::priority(), calls).await, every_100_ms(order));
}

/// When a low call starts that is queued behind one of 30 high calls, made one every 100 ms.
async fn start_of_low(order: Order) -> u64 {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1).with_order(order);
    let stack = limit.layer(recording(&starts));
    let watch = Stopwatch::start();
    let mut running = vec![begin(&stack, high(0)).await, begin(&stack, low(0)).await];
    // Each is made while the previous one runs.
    for n in 1..30 {
        watch.until(ms(100 * n - 50)).await;
        running.push(begin(&stack, high(n)).await);
    }
    for running in running {
        assert!(running.await.is_ok_and(|response| response.is_ok()));
    }
    let entries = entries(&starts);
    assert_eq!(entries.len(), 31);
    let low = entries.iter().find(|(_, id)| id == "low0");
    low.expect("it starts").0
}

/// Control: without aging, a steady stream of high calls starves a low one.
#[tokio::test(start_paused = true)]
async fn strict_priority_starves_a_low_call() {
    assert_eq!(start_of_low(Order::priority()).await, 3_000);
    assert_eq!(start_of_low(Order::fifo()).await, 100);
}

#[tokio::test(start_paused = true)]
async fn aged_call_starts_within_its_wait_and_one_service() {
    for (max_wait, start) in [(1_000, 1_000), (999, 1_000), (1_001, 1_100), (0, 100)] {
        let order = Order::priority().with_aging(ms(max_wait));
        assert_eq!(start_of_low(order).await, start, "{max_wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn aged_calls_are_first_in_first_out_and_start_within_the_bound() {
    let (service, max_wait, n) = (100, 250, 2);
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(n);
    let limit = limit.with_order(Order::priority().with_aging(ms(max_wait)));
    let stack = limit.layer(recording(&starts));
    let watch = Stopwatch::start();
    let mut running = Vec::new();
    for id in 0..n {
        running.push(begin(&stack, high(format!("running{id}"))).await);
    }
    for id in 0..6 {
        running.push(begin(&stack, low(id)).await);
    }
    // Ten times as many high calls as permits.
    for round in 0..10 {
        watch.until(ms(100 * round + 1)).await;
        for id in 0..20 {
            running.push(begin(&stack, high(format!("{round}-{id}"))).await);
        }
    }
    for running in running {
        running.await.unwrap().unwrap();
    }
    let entries = entries(&starts);
    let low: Vec<_> = entries
        .iter()
        .filter(|(_, id)| id.starts_with("low"))
        .collect();
    assert_eq!(
        low.iter().map(|(at, id)| (*at, &**id)).collect::<Vec<_>>(),
        [
            (300, "low0"),
            (300, "low1"),
            (400, "low2"),
            (400, "low3"),
            (500, "low4"),
            (500, "low5")
        ]
    );
    for (ahead, (at, _)) in (0_u64..).zip(low) {
        assert!(*at <= max_wait + (ahead + 1) * service / n as u64);
    }
}

/// If all running calls have just started, an aged call waits for one whole service.
#[tokio::test(start_paused = true)]
async fn aging_keeps_its_bound_when_all_running_calls_have_just_started() {
    let (service, max_wait, n) = (100, 201, 4);
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(n);
    let limit = limit.with_order(Order::priority().with_aging(ms(max_wait)));
    let calls = (0..n).map(|id| high(format!("running{id}")));
    let calls = calls.chain((0..5).map(low)).chain((0..40).map(high));
    call_all(limit.layer(recording(&starts)), calls).await;
    let entries = entries(&starts);
    let low = entries.iter().filter(|(_, id)| id.starts_with("low"));
    let low: Vec<u64> = low.map(|(at, _)| *at).collect();
    assert_eq!(low, [300, 300, 300, 300, 400]);
    for (ahead, at) in (0_u64..).zip(low) {
        assert!(at <= max_wait + (ahead + 1).div_ceil(n as u64) * service);
    }
}

/// With 100 waiters of A and one of B, B starts second.
#[tokio::test(start_paused = true)]
async fn fair_order_starts_a_single_call_within_two_services() {
    let calls = || (0..101).map(|n| of("a", n)).chain([of("b", 0)]);
    let start =
        |starts: Vec<(u64, String)>| starts.into_iter().find(|(_, id)| id == "b0").unwrap().0;
    assert_eq!(start(starts(by_tenant(), calls()).await), 200);
    // Control.
    assert_eq!(start(starts(Order::fifo(), calls()).await), 10_100);
}

#[tokio::test(start_paused = true)]
async fn fair_order_alternates_between_keys() {
    let calls = (0..3).map(|n| of("a", n)).chain((0..3).map(|n| of("b", n)));
    let calls = [of("z", 0)].into_iter().chain(calls).chain([of("c", 0)]);
    let order = ["z0", "a0", "b0", "c0", "a1", "b1", "a2", "b2"];
    assert_eq!(starts(by_tenant(), calls).await, every_100_ms(order));
}

#[tokio::test(start_paused = true)]
async fn fair_order_follows_the_shares() {
    let order = by_tenant().with_shares(|tenant| match tenant {
        "b" => 3,
        _ => 0,
    });
    let calls = (0..41)
        .map(|n| of("a", n))
        .chain((0..40).map(|n| of("b", n)));
    let starts = starts(order, calls).await;
    let served = |from: usize| {
        starts[from..from + 40]
            .iter()
            .filter(|(_, id)| id.starts_with('b'))
            .count()
    };
    assert_eq!((served(1), starts.len()), (30, 81));
}

#[tokio::test(start_paused = true)]
async fn fair_order_applies_within_a_priority() {
    let order = Order::priority().with_fair_by(|call| call.tenant().unwrap_or_default().into());
    let urgent = |tenant, n| of(tenant, format!("!{n}")).with_priority(1);
    let calls = [
        of("z", 0),
        of("a", 0),
        of("a", 1),
        of("b", 0),
        urgent("a", 0),
        urgent("a", 1),
        urgent("b", 0),
    ];
    let order_of = ["z0", "a!0", "b!0", "a!1", "a0", "b0", "a1"];
    assert_eq!(starts(order, calls).await, every_100_ms(order_of));
}

#[tokio::test(start_paused = true)]
async fn fair_order_rejects_a_key_that_is_too_long() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1).with_order(by_tenant());
    let stack = limit.layer(recording(&starts));
    let running = begin(&stack, of("a", 0)).await;
    let long = "x".repeat(1_000_000);
    let rejected = stack.clone().oneshot(of(&long, 0)).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    assert_eq!(
        rejected.to_string(),
        "invalid arguments at `key`: a key may have 1024 bytes, and this one has 1000000"
    );
    let longest = begin(&stack, of(&long[..1_024], 0).with_id("longest")).await;
    running.await.unwrap().unwrap();
    longest.await.unwrap().unwrap();
    assert_eq!(entries(&starts), expected([(0, "a0"), (100, "longest")]));
}

#[tokio::test(start_paused = true)]
async fn rate_limit_obeys_priority_and_fairness() {
    let ten = |order| RateLimitLayer::new(quota(10, 1)).with_order(order);
    for (order, calls, expected_order) in [
        (
            Order::priority(),
            [low(0), low(1), low(2), high(0)],
            ["low0", "high0", "low1", "low2"],
        ),
        (
            by_tenant(),
            [of("a", 0), of("a", 1), of("a", 2), of("b", 0)],
            ["a0", "a1", "b0", "a2"],
        ),
    ] {
        let starts = Recorder::new();
        let rate = ten(order);
        call_all(rate.layer(recording(&starts)), calls).await;
        assert_eq!(entries(&starts), every_100_ms(expected_order));
        assert_eq!(rate.queued(), 0);
    }
}

/// Its token was due in time when it was queued.
#[tokio::test(start_paused = true)]
async fn waiter_for_a_token_that_is_overtaken_is_rejected_at_its_limit() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(10, 1)).with_order(Order::priority());
    let rate = rate.with_max_wait(ms(250));
    let stack = rate.layer(recording(&starts));
    let finished = call_all(stack, [high(0), low(0), high(1), high(2), low(1)]).await;
    assert_eq!(
        entries(&starts),
        expected([(0, "high0"), (100, "high1"), (200, "high2")])
    );
    // low0 was queued as the first waiter; low1 is rejected at once.
    let at = |call: usize| (finished[call].at, finished[call].error_kind());
    assert_eq!(at(1), (ms(250), Some(ErrorKind::RateLimited)));
    assert_eq!(at(4), (ms(0), Some(ErrorKind::RateLimited)));
}

/// The service time estimates how long a call takes.
#[tokio::test(start_paused = true)]
async fn service_time_rejects_calls_at_once_that_cannot_start_in_time() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(2).with_service_time(ms(100));
    let stack = limit.with_max_wait(ms(250)).layer(tool.clone());
    let finished = call_all(stack, calls(10)).await;
    // 2 run; 2 may follow at once, 2 after 100 ms, 2 after 200 ms.
    let (served, rejected) = finished.split_at(8);
    assert_eq!(count_ok(served), 6);
    for late in rejected {
        assert_eq!(overload(late), Some(OverloadReason::too_late(ms(300))));
        assert_eq!(late.at, ms(0));
    }
    // The estimate is the best case. Queued calls wait for their whole limit.
    for late in &served[6..] {
        assert_eq!(
            (late.at, late.error_kind()),
            (ms(250), Some(ErrorKind::Overloaded))
        );
    }
}
