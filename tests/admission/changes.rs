//! Limits that change while calls run and wait.

use toolbooth::{ConfigError, PerTool};

use super::*;

fn tenant(call: &CallContext) -> toolbooth::Name {
    call.tenant().unwrap_or("nobody").into()
}

#[tokio::test(start_paused = true)]
async fn raising_a_limit_starts_those_who_may_run_at_once() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let running = tokio::spawn(call_all(limit.layer(order_tool(starts.clone())), calls(10)));
    sleep(ms(50)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 9));
    limit.set_limit(4).unwrap();
    assert_eq!((limit.in_flight(), limit.queued()), (4, 6));
    assert_eq!(count_ok(&running.await.unwrap()), 10);
    let at = starts
        .times()
        .into_iter()
        .map(|at| at.as_millis())
        .collect::<Vec<_>>();
    assert_eq!(at, [0, 50, 50, 50, 100, 150, 150, 150, 200, 250]);
    assert_eq!((limit.available(), limit.queued()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn lowering_a_limit_cuts_nobody_and_starts_nobody_too_many() {
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
    let at = finished
        .iter()
        .map(|finished| finished.at.as_millis())
        .collect::<Vec<_>>();
    assert_eq!(at, [100, 100, 100, 100, 200, 300, 400, 500]);
    assert_eq!((limit.available(), tool.probe().max()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_too_heavy_for_the_new_limit_is_refused_and_holds_up_nobody() {
    let limit = ConcurrencyLimitLayer::new(4)
        .with_cost(|call| usize::try_from(call.priority()).unwrap_or(0));
    let stack = limit.layer(SlowTool::new(ms(100)));
    let weights = [1, 4, 1, 1].map(|weight| call("tool").with_priority(weight));
    let running = tokio::spawn(call_all(stack, weights));
    sleep(ms(50)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 3));
    limit.set_limit(2).unwrap();
    let finished = running.await.unwrap();
    let ended = finished
        .iter()
        .map(|finished| (finished.at.as_millis(), finished.error_kind()));
    let heavy = (50, Some(ErrorKind::Overloaded));
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [(100, None), heavy, (150, None), (200, None)]
    );
    assert_eq!((limit.available(), limit.queued()), (2, 0));
}

/// As many tokens as were taken are taken still, and come back by the new quota.
#[tokio::test(start_paused = true)]
async fn a_new_quota_counts_from_now_on_for_those_who_wait_too() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(1, 1));
    let running = tokio::spawn(call_all(rate.layer(order_tool(starts.clone())), calls(5)));
    sleep(ms(500)).await;
    assert_eq!(rate.queued(), 4);
    // Half a token is back, the other half takes 50 ms by now.
    rate.set_quota(quota(10, 1)).unwrap();
    sleep(ms(200)).await;
    // 50 ms of the 100 that the next one takes have passed; the rest of it now takes 5 s.
    rate.set_quota(Quota::with_period(ms(10_000)).unwrap())
        .unwrap();
    assert_eq!(count_ok(&running.await.unwrap()), 5);
    let at = starts
        .times()
        .into_iter()
        .map(|at| at.as_millis())
        .collect::<Vec<_>>();
    assert_eq!(at, [0, 550, 650, 5_700, 15_700]);
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_token_would_now_come_too_late_ends_at_its_limit() {
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
async fn limits_by_key_change_for_all_or_for_one() {
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
async fn a_change_that_cannot_work_is_refused_and_changes_nothing() {
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
    // A layer that was closed can be opened.
    let closed = ConcurrencyLimitLayer::new(0);
    closed.set_limit(2).unwrap();
    assert_eq!(closed.available(), 2);
}

/// In another order another one is first: it starts when its own token is there, not when that of the one before it would have been.
#[tokio::test(start_paused = true)]
async fn another_order_counts_at_once_for_those_who_wait() {
    let cost = |call: &CallContext| u32::try_from(call.priority()).unwrap_or(0);
    let rate = RateLimitLayer::new(quota(1, 10))
        .with_order(Order::priority())
        .with_cost(cost);
    let starts = Recorder::new();
    let stack = rate.layer(order_tool(starts.clone()));
    let calls = [10, 1, 9].map(|cost| call("tool").with_priority(cost));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(500)).await;
    assert_eq!((starts.times().len(), rate.queued()), (1, 2));
    rate.set_order(Order::fifo());
    assert_eq!(count_ok(&running.await.unwrap()), 3);
    let at = starts.times().into_iter().map(|at| at.as_millis());
    assert_eq!(at.collect::<Vec<_>>(), [0, 1_000, 10_000]);
}

/// The same for permits: who is first by now and finds enough does not wait for somebody to end.
#[tokio::test(start_paused = true)]
async fn another_order_starts_those_who_may_run_at_once() {
    let weight = |call: &CallContext| usize::try_from(call.priority()).unwrap_or(0);
    let limit = ConcurrencyLimitLayer::new(3)
        .with_order(Order::priority())
        .with_cost(weight);
    let tool = tool_fn("tool", async |millis: u64| {
        sleep(ms(millis)).await;
        Ok::<_, Infallible>(millis)
    });
    let stack = limit.layer(tool);
    let calls = [(2, 100), (1, 1_000), (1, 100), (3, 100)];
    let calls =
        calls.map(|(weight, millis)| ToolCall::new("tool", json!(millis)).with_priority(weight));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(500)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 2));
    limit.set_order(Order::fifo());
    assert_eq!((limit.in_flight(), limit.queued()), (2, 1));
    let finished = running.await.unwrap();
    let at = finished.iter().map(|finished| finished.at.as_millis());
    assert_eq!(at.collect::<Vec<_>>(), [100, 1_000, 600, 1_100]);
}
