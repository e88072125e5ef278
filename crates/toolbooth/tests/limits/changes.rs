//! Changes of a limit while calls run and wait.

use toolbooth::{ConfigError, PerTool};

use super::*;

#[tokio::test(start_paused = true)]
async fn raised_limit_starts_waiters_at_once() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let running = tokio::spawn(call_all(limit.layer(recording(&starts)), calls(10)));
    sleep(ms(50)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 9));
    limit.set_limit(4).unwrap();
    assert_eq!((limit.in_flight(), limit.queued()), (4, 6));
    assert_eq!(count_ok(&running.await.unwrap()), 10);
    assert_eq!(
        starts_at(&starts),
        [0, 50, 50, 50, 100, 150, 150, 150, 200, 250]
    );
    assert_eq!((limit.available(), limit.queued()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn lowered_limit_cancels_no_call_and_starts_no_call_too_many() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(4);
    let running = tokio::spawn(call_all(limit.layer(tool.clone()), calls(8)));
    sleep(ms(50)).await;
    limit.set_limit(1).unwrap();
    assert_eq!(
        (limit.in_flight(), limit.available(), limit.queued()),
        (4, 0, 4)
    );
    sleep(ms(100)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 3));
    let finished = running.await.unwrap();
    assert_eq!(ends(&finished), [100, 100, 100, 100, 200, 300, 400, 500]);
    assert_eq!((limit.available(), tool.probe().max()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn waiter_whose_cost_exceeds_the_new_limit_is_rejected() {
    let limit = ConcurrencyLimitLayer::new(4)
        .with_cost(|call| usize::try_from(call.priority()).unwrap_or(0));
    let stack = limit.layer(SlowTool::new(ms(100)));
    let costs = [1, 4, 1, 1].map(|cost| call("tool").with_priority(cost));
    let running = tokio::spawn(call_all(stack, costs));
    sleep(ms(50)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 3));
    limit.set_limit(2).unwrap();
    let finished = running.await.unwrap();
    let ended = finished
        .iter()
        .map(|finished| (finished.at.as_millis(), finished.error_kind()));
    let rejected = (50, Some(ErrorKind::Overloaded));
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [(100, None), rejected, (150, None), (200, None)]
    );
    assert_eq!((limit.available(), limit.queued()), (2, 0));
}

/// Tokens that are taken stay taken and refill at the new rate.
#[tokio::test(start_paused = true)]
async fn new_quota_applies_at_once_to_waiters() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(1, 1));
    let running = tokio::spawn(call_all(rate.layer(recording(&starts)), calls(5)));
    sleep(ms(500)).await;
    assert_eq!(rate.queued(), 4);
    // Half a token is refilled, the other half takes 50 ms at the new rate.
    rate.set_quota(quota(10, 1)).unwrap();
    sleep(ms(200)).await;
    // Half of the next token is refilled; the rest takes 5 s at the new rate.
    rate.set_quota(Quota::with_period(ms(10_000)).unwrap())
        .unwrap();
    assert_eq!(count_ok(&running.await.unwrap()), 5);
    assert_eq!(starts_at(&starts), [0, 550, 650, 5_700, 15_700]);
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiter_whose_token_is_late_under_the_new_quota_is_rejected_at_its_limit() {
    let rate = RateLimitLayer::new(quota(1, 1)).with_max_wait(ms(2_000));
    let running = tokio::spawn(call_all(rate.layer(FastTool::new()), calls(3)));
    sleep(ms(500)).await;
    rate.set_quota(Quota::with_period(ms(60_000)).unwrap())
        .unwrap();
    let finished = running.await.unwrap();
    let ended = finished
        .iter()
        .map(|finished| (finished.at.as_millis(), finished.error_kind()));
    let late = (2_000, Some(ErrorKind::RateLimited));
    assert_eq!(ended.collect::<Vec<_>>(), [(10, None), late, late]);
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn limits_by_key_change_for_all_keys_or_for_one() {
    let limit = ConcurrencyLimitLayer::by(PerTool::new(1).with("named", 1), tenant);
    let stack = limit.layer(SlowTool::new(ms(100)));
    let calls = ["a", "b", "named"]
        .into_iter()
        .flat_map(|name| (0..4).map(move |_| call("tool").with_tenant(name)));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(50)).await;
    limit.set_limit(2).unwrap();
    limit.set_limit_for("b", 3).unwrap();
    let finished = running.await.unwrap();
    let last = |from: usize| last_ok(&finished[from..from + 4]);
    // a: 0, 50, 100, 150; b: 0, 50, 50, 100; named has its own limit: 0, 100, 200, 300.
    assert_eq!(
        [last(0), last(4), last(8)],
        [Some(ms(250)), Some(ms(200)), Some(ms(400))]
    );
    let available = ["a", "b", "named", "new"].map(|key| limit.available_for(key));
    assert_eq!(available, [2, 3, 1, 2]);

    let rate = RateLimitLayer::per_tool(quota(1, 1)).with_group(quota(1, 1), ["x", "y"]);
    rate.set_quota(quota(1, 5)).unwrap();
    rate.set_quota_for("x", quota(1, 7)).unwrap();
    rate.set_quota_for("z", quota(1, 9)).unwrap();
    let remaining = ["w", "x", "y", "z"].map(|key| rate.remaining_for(key));
    assert_eq!(remaining, [5, 7, 7, 9]);
}

#[tokio::test(start_paused = true)]
async fn invalid_change_is_rejected_and_changes_nothing() {
    let limit = ConcurrencyLimitLayer::new(3);
    assert_eq!(limit.set_limit(0), Err(ConfigError::ZeroLimit));
    assert_eq!(limit.set_limit_for("tool", 1), Err(ConfigError::NotByKey));
    assert_eq!(limit.available(), 3);
    let off = ConcurrencyLimitLayer::new(None);
    assert_eq!(off.set_limit(1), Err(ConfigError::NoLimit));
    let rate = RateLimitLayer::new(None);
    assert_eq!(rate.set_quota(quota(1, 1)), Err(ConfigError::NoLimit));
    let rate = RateLimitLayer::new(quota(1, 1));
    assert_eq!(
        rate.set_quota_for("tool", quota(1, 1)),
        Err(ConfigError::NotByKey)
    );
    // A limit of zero can be raised.
    let closed = ConcurrencyLimitLayer::new(0);
    closed.set_limit(2).unwrap();
    assert_eq!(closed.available(), 2);
}

/// The new first waiter starts when its own tokens are available.
#[tokio::test(start_paused = true)]
async fn new_order_applies_at_once_to_waiters_for_tokens() {
    let cost = |call: &CallContext| u32::try_from(call.priority()).unwrap_or(0);
    let rate = RateLimitLayer::new(quota(1, 10))
        .with_order(Order::priority())
        .with_cost(cost);
    let starts = Recorder::new();
    let stack = rate.layer(recording(&starts));
    let calls = [10, 1, 9].map(|cost| call("tool").with_priority(cost));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(500)).await;
    assert_eq!((starts.times().len(), rate.queued()), (1, 2));
    rate.set_order(Order::fifo());
    assert_eq!(count_ok(&running.await.unwrap()), 3);
    assert_eq!(starts_at(&starts), [0, 1_000, 10_000]);
}

/// The new first waiter starts at once if its permits are available.
#[tokio::test(start_paused = true)]
async fn new_order_applies_at_once_to_waiters_for_permits() {
    let cost = |call: &CallContext| usize::try_from(call.priority()).unwrap_or(0);
    let limit = ConcurrencyLimitLayer::new(3)
        .with_order(Order::priority())
        .with_cost(cost);
    let tool = tool_fn("tool", async |millis: u64| {
        sleep(ms(millis)).await;
        Ok::<_, Infallible>(millis)
    });
    let stack = limit.layer(tool);
    let calls = [(2, 100), (1, 1_000), (1, 100), (3, 100)];
    let calls =
        calls.map(|(cost, millis)| ToolCall::new("tool", json!(millis)).with_priority(cost));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(500)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 2));
    limit.set_order(Order::fifo());
    assert_eq!((limit.in_flight(), limit.queued()), (2, 1));
    let finished = running.await.unwrap();
    assert_eq!(ends(&finished), [100, 1_000, 600, 1_100]);
}
