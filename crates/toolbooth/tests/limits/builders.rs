//! What `with_*` configures and what `set_*` changes while calls run and wait.

use toolbooth::{BreakerPolicy, CircuitBreakerLayer, PerTool};

use super::*;

/// What a layer does with four calls of 100 ms at once, as the end of each and its error.
async fn four_calls(limit: &ConcurrencyLimitLayer) -> Vec<(u128, Option<ErrorKind>)> {
    let finished = call_all(limit.layer(SlowTool::new(ms(100))), calls(4)).await;
    let end = |call: &Finished| (call.at.as_millis(), call.error_kind());
    finished.iter().map(end).collect()
}

const OVERLOADED: Option<ErrorKind> = Some(ErrorKind::Overloaded);

/// A clone made before, and a service of it, keep their settings and their limit.
#[tokio::test(start_paused = true)]
async fn with_methods_of_a_concurrency_limit_change_no_earlier_clone() {
    type Configure = fn(ConcurrencyLimitLayer) -> ConcurrencyLimitLayer;
    let configured: [(Configure, [u128; 4], usize); 4] = [
        (|limit| limit.with_queue_capacity(1), [100, 200, 0, 0], 2),
        (
            |limit| limit.with_max_wait(ms(150)),
            [100, 150, 150, 200],
            2,
        ),
        (
            |limit| limit.with_max_wait(ms(150)).with_service_time(ms(100)),
            [100, 150, 200, 0],
            2,
        ),
        (
            |limit| limit.with_order(Order::priority()),
            [100, 200, 300, 400],
            0,
        ),
    ];
    for (configure, ends, rejected) in configured {
        let limit = ConcurrencyLimitLayer::new(1);
        let service = limit.layer(SlowTool::new(ms(100)));
        let other = configure(limit.clone());
        let running = tokio::spawn(service.oneshot(call("tool")));
        yield_now().await;
        assert_eq!((limit.available(), other.available()), (0, 1));
        running.await.unwrap().unwrap();

        let mut found = four_calls(&other).await;
        found.sort_unstable_by_key(|(at, _)| *at);
        let mut ends = ends;
        ends.sort_unstable();
        let at: Vec<u128> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, ends);
        let errors = found.iter().filter(|(_, error)| *error == OVERLOADED);
        assert_eq!(errors.count(), rejected);
        let unchanged = [100, 200, 300, 400].map(|at| (at, None));
        assert_eq!(four_calls(&limit).await, unchanged);
    }
}

#[tokio::test(start_paused = true)]
async fn with_methods_of_a_rate_limit_change_no_earlier_clone() {
    type Configure = fn(RateLimitLayer) -> RateLimitLayer;
    let configured: [(Configure, usize); 3] = [
        (|rate| rate.with_queue_capacity(1), 2),
        (|rate| rate.with_max_wait(ms(150)), 2),
        (|rate| rate.with_order(Order::priority()), 0),
    ];
    for (configure, rejected) in configured {
        let rate = RateLimitLayer::new(quota(10, 1));
        let other = configure(rate.clone());
        let finished = call_all(other.layer(FastTool::new()), calls(4)).await;
        assert_eq!(count_ok(&finished), 4 - rejected);
        assert_eq!(rate.remaining(), 1);
        let finished = call_all(rate.layer(FastTool::new()), calls(4)).await;
        assert_eq!(count_ok(&finished), 4);
    }
}

/// The cost and the mode of a rate limit are of one value. The limit stays shared.
#[tokio::test(start_paused = true)]
async fn costs_and_modes_are_of_one_value_of_a_shared_limit() {
    let limit = ConcurrencyLimitLayer::new(5);
    let heavy = limit.clone().with_cost(|_| 3);
    let running = [&limit, &heavy].map(|layer| layer.layer(SlowTool::new(ms(100))));
    let running = running.map(|service| tokio::spawn(service.oneshot(call("tool"))));
    yield_now().await;
    assert_eq!((limit.in_flight(), heavy.in_flight()), (4, 4));
    for running in running {
        running.await.unwrap().unwrap();
    }

    let rate = RateLimitLayer::new(quota(1, 5));
    let heavy = rate.clone().with_cost(|_| 3).reject();
    let call_once = async |rate: &RateLimitLayer| {
        let service = rate.layer(FastTool::new());
        service.oneshot(call("tool")).await.is_ok()
    };
    assert!(call_once(&rate).await && call_once(&heavy).await);
    assert_eq!((rate.remaining(), heavy.remaining()), (1, 1));
    assert!(!call_once(&heavy).await && call_once(&rate).await);
}

/// A clone made before keeps its keys, its groups and its bounds.
#[tokio::test(start_paused = true)]
async fn key_bounds_and_groups_change_no_earlier_clone() {
    let limit = ConcurrencyLimitLayer::by(1, tenant).with_queue_capacity(0);
    let bounded = limit.clone().with_key_bounds(1, ms(0));
    // With room for one key, the other two share a limit.
    let tenants = async |limit: &ConcurrencyLimitLayer| {
        let calls = ["a", "b", "c"].map(|name| call("tool").with_tenant(name));
        count_ok(&call_all(limit.layer(SlowTool::new(ms(100))), calls).await)
    };
    assert_eq!((tenants(&bounded).await, tenants(&limit).await), (2, 3));
    // The other settings keep the bounds.
    let bounded = bounded.with_max_wait(ms(500)).with_order(Order::priority());
    assert_eq!(tenants(&bounded).await, 2);

    let rate = RateLimitLayer::per_tool(quota(1, 5));
    let grouped = rate.clone().with_group(quota(1, 1), ["a", "b"]);
    let bounded = grouped.clone().with_key_bounds(1, ms(0));
    assert_eq!(
        (rate.remaining_for("a"), grouped.remaining_for("a")),
        (5, 1)
    );
    let service = bounded.layer(FastTool::new());
    service.oneshot(call("a")).await.unwrap();
    assert_eq!(
        (bounded.remaining_for("b"), grouped.remaining_for("b")),
        (0, 1)
    );

    let breaker = CircuitBreakerLayer::per_tool(BreakerPolicy::new());
    let changes = Recorder::new();
    let log = changes.clone();
    breaker.on_state_change(move |change| log.record(change.key.clone()));
    let bounded = breaker.clone().with_key_bounds(1, ms(0));
    let kept = bounded.breaker_for("a").unwrap();
    assert!(bounded.breaker_for("b").is_none() && breaker.breaker_for("b").is_some());
    kept.trip();
    assert_eq!(breaker.breaker_for("a").unwrap().state(), breaker.state());
    assert_eq!(changes.values(), [Some("a".into())]);
}

#[tokio::test(start_paused = true)]
async fn queue_capacity_changes_while_calls_wait() {
    let limit = ConcurrencyLimitLayer::new(1);
    let rate = RateLimitLayer::new(quota(10, 1));
    let stacks: [(BoxTool, &dyn Fn(usize), &dyn Fn() -> usize); 2] = [
        (
            boxed(limit.layer(SlowTool::new(ms(100)))),
            &|calls| limit.set_queue_capacity(calls),
            &|| limit.queued(),
        ),
        (
            boxed(rate.layer(FastTool::new())),
            &|calls| rate.set_queue_capacity(calls),
            &|| rate.queued(),
        ),
    ];
    for (stack, set_capacity, queued) in stacks {
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(begin(&stack, call("tool")).await);
        }
        set_capacity(1);
        assert_eq!(queued(), 3);
        let rejected = stack.clone().oneshot(call("tool")).await.unwrap_err();
        assert_eq!(
            overload_reason(&rejected),
            Some(OverloadReason::queue_full(1))
        );
        set_capacity(4);
        running.push(begin(&stack, call("tool")).await);
        assert_eq!(queued(), 4);
        for running in running {
            running.await.unwrap().unwrap();
        }
    }
}

/// The new limit counts from when the call arrived, for calls that wait already, too.
#[tokio::test(start_paused = true)]
async fn max_wait_changes_for_calls_that_wait() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(5_000));
    let rate = RateLimitLayer::new(Quota::with_period(ms(10_000)).unwrap());
    rate.set_max_wait(ms(10_000));
    let stacks: [(BoxTool, &dyn Fn(Option<Duration>), ErrorKind); 2] = [
        (
            boxed(limit.layer(SlowTool::new(ms(10_000)))),
            &|max_wait| limit.set_max_wait(max_wait),
            ErrorKind::Overloaded,
        ),
        (
            boxed(rate.layer(FastTool::new())),
            &|max_wait| rate.set_max_wait(max_wait),
            ErrorKind::RateLimited,
        ),
    ];
    for (stack, set_max_wait, kind) in stacks {
        // Shorter, longer, already over, and none.
        for (changed, end) in [
            (Some(1_000), Some(1_000)),
            (Some(7_000), Some(7_000)),
            (Some(100), Some(500)),
            (None, None),
        ] {
            set_max_wait(Some(ms(10_000)));
            let first = begin(&stack, call("tool")).await;
            let watch = Stopwatch::start();
            let waits = begin(&stack, call("tool")).await;
            sleep(ms(500)).await;
            set_max_wait(changed.map(ms));
            let waited = waits.await.unwrap();
            let found = waited.err().map(|error| (error.kind(), watch.elapsed()));
            assert_eq!(found, end.map(|end| (kind, ms(end))));
            first.await.unwrap().unwrap();
            sleep(ms(20_000)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn service_time_changes_for_calls_that_arrive_later() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(150));
    let stack = limit.layer(SlowTool::new(ms(100)));
    let _running = begin(&stack, call("tool")).await;
    let second = begin(&stack, call("tool")).await;
    limit.set_service_time(ms(200));
    let rejected = stack.clone().oneshot(call("tool")).await.unwrap_err();
    assert_eq!(
        overload_reason(&rejected),
        Some(OverloadReason::too_late(ms(200)))
    );
    limit.set_service_time(None);
    let third = begin(&stack, call("tool")).await;
    second.await.unwrap().unwrap();
    let waited = OverloadReason::waited_too_long(ms(150));
    assert_eq!(
        overload_reason(&third.await.unwrap().unwrap_err()),
        Some(waited)
    );
}

/// `None` is no limit: all waiting calls start.
#[tokio::test(start_paused = true)]
async fn a_limit_is_lifted_and_set_again_while_calls_run() {
    let limit = ConcurrencyLimitLayer::per_tool(PerTool::new(1).with("other", 1));
    let stack = limit.layer(SlowTool::new(ms(100)));
    let mut running = Vec::new();
    for tool in ["tool", "tool", "tool", "other", "other"] {
        running.push(begin(&stack, call(tool)).await);
    }
    assert_eq!((limit.in_flight(), limit.queued()), (2, 3));
    limit.set_limit(None).unwrap();
    assert_eq!((limit.in_flight(), limit.queued()), (4, 1));
    limit.set_limit_for("other", None).unwrap();
    assert_eq!((limit.in_flight(), limit.queued()), (5, 0));
    let available = ["tool", "other", "new"].map(|tool| limit.available_for(tool));
    assert_eq!(available, [usize::MAX; 3]);
    limit.set_limit(4).unwrap();
    assert_eq!(limit.available_for("tool"), 1);
    for running in running {
        running.await.unwrap().unwrap();
    }
    assert_eq!((limit.available(), limit.available_for("new")), (4, 4));
}
