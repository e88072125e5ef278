//! Limits by tool, by group and by key, their bounds, and costs (guarantees L2, L5, Q4, Q5).

use toolbooth::concurrency::ConcurrencyLimit;
use toolbooth::{BoxError, PerTool};
use toolbooth_test::FastTool;

use super::*;

fn of(tenant: &str) -> ToolCall {
    call("tool").with_tenant(tenant)
}

/// L5.
#[tokio::test(start_paused = true)]
async fn saturated_tool_delays_no_other() {
    for (limit, b) in [
        (ConcurrencyLimitLayer::per_tool(2), 100),
        // Control: one limit for both.
        (ConcurrencyLimitLayer::new(2), 600),
    ] {
        let tool = SlowTool::new(ms(100));
        let calls = (0..10).map(|_| call("a")).chain([call("b")]);
        let finished = call_all(limit.layer(tool), calls).await;
        assert_eq!((finished[10].at, finished[9].at), (ms(b), ms(500)));
        assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    }
}

/// L2.
#[tokio::test(start_paused = true)]
async fn each_tool_has_a_limit() {
    let limits = PerTool::new(1)
        .with("wide", 3)
        .with("free", None)
        .with("closed", 0);
    let limit = ConcurrencyLimitLayer::per_tool(limits);
    let tool = SlowTool::new(ms(100));
    let calls = ["narrow", "wide", "free"]
        .into_iter()
        .flat_map(|name| (0..6).map(move |_| call(name)));
    let finished = call_all(limit.layer(tool.clone()), calls.chain([call("closed")])).await;
    let last = |from: usize| last_ok(&finished[from..from + 6]);
    assert_eq!(
        [last(0), last(6), last(12)],
        [Some(ms(600)), Some(ms(200)), Some(ms(100))]
    );
    let closed = finished[18].result.as_ref().unwrap_err();
    assert_eq!(
        (overload_reason(closed), finished[18].at),
        (Some(OverloadReason::Closed), ms(0))
    );
    assert_eq!(tool.probe().max(), 1 + 3 + 6);
    assert_eq!(limit.available_for("narrow"), 1);
    assert_eq!(limit.available_for("free"), usize::MAX);
}

/// L2.
#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit() {
    let limit = ConcurrencyLimitLayer::by(PerTool::new(1).with("big", 2), tenant);
    let tool = SlowTool::new(ms(100));
    let stack = limit.layer(tool.clone());
    let calls = ["a", "b", "big"]
        .into_iter()
        .flat_map(|tenant| (0..4).map(move |_| of(tenant)));
    let running = tokio::spawn(call_all(stack, calls));
    sleep(ms(50)).await;
    let available = ["a", "b", "big", "new"].map(|key| limit.available_for(key));
    assert_eq!(available, [0, 0, 0, 1]);
    assert_eq!(
        (limit.in_flight(), limit.queued(), limit.available()),
        (4, 8, 0)
    );
    let finished = running.await.unwrap();
    let last = |from: usize| last_ok(&finished[from..from + 4]);
    assert_eq!(
        [last(0), last(4), last(8)],
        [Some(ms(400)), Some(ms(400)), Some(ms(200))]
    );
    assert_eq!(tool.probe().max(), 4);
}

/// L2: nested limits acquire permits from the outside in, so that no calls wait for each other.
/// Here each call needs a permit of its tenant and one or two of a shared limit.
#[tokio::test(start_paused = true)]
async fn combined_limits_acquire_their_permits_in_one_order() {
    let all = ConcurrencyLimitLayer::new(3).with_cost(|call| usize::from(call.priority() > 0) + 1);
    let each = ConcurrencyLimitLayer::by(2, tenant);
    let tool = SlowTool::new(ms(10));
    let probe = tool.probe().clone();
    let one = ServiceBuilder::new()
        .layer(each.clone())
        .layer(all.clone())
        .service(tool.clone());
    let two = ServiceBuilder::new()
        .layer(each.clone())
        .layer(all.clone())
        .service(tool);
    let calls = |count: usize| {
        (0..count).map(|n| of(["a", "b", "c"][n % 3]).with_priority(i32::from(n % 4 == 0)))
    };
    let (first, second) = tokio::join!(call_all(one, calls(100)), call_all(two, calls(100)));
    assert_eq!(count_ok(&first) + count_ok(&second), 200);
    assert!(probe.max() <= 3);
    assert_eq!(
        (all.available(), each.in_flight(), each.queued()),
        (3, 0, 0)
    );
}

/// Q4.
#[tokio::test(start_paused = true)]
async fn each_tool_group_and_tenant_has_a_bucket() {
    let ten = quota(10, 10);
    let per_tool = RateLimitLayer::per_tool(
        PerTool::new(ten)
            .with("slow", quota(10, 2))
            .with("free", None),
    )
    .with_group(quota(10, 3), ["search", "read"])
    .reject();
    let stack = per_tool.layer(FastTool::new());
    let names = ["a", "b", "slow", "free", "search", "read"];
    let calls = names
        .into_iter()
        .flat_map(|name| (0..20).map(move |_| call(name)));
    let finished = call_all(stack, calls).await;
    let admitted: Vec<usize> = finished.chunks(20).map(count_ok).collect();
    assert_eq!(admitted, [10, 10, 2, 20, 3, 0]);
    let group = finished[100].result.as_ref().unwrap_err();
    assert_eq!(group.retry_after(), Some(ms(100)));
    // The remaining tokens of each are readable.
    assert_eq!(
        (
            per_tool.remaining_for("read"),
            per_tool.remaining_for("slow"),
            per_tool.remaining_for("other")
        ),
        (0, 0, 10)
    );
    assert_eq!(per_tool.remaining_for("free"), u32::MAX);

    let by_tenant = RateLimitLayer::by(ten, tenant).reject();
    let calls = ["x", "y"]
        .into_iter()
        .flat_map(|tenant| (0..50).map(move |_| of(tenant)));
    let finished = call_all(by_tenant.layer(FastTool::new()), calls).await;
    let admitted: Vec<usize> = finished.chunks(50).map(count_ok).collect();
    assert_eq!(admitted, [10, 10]);
    // Clones share the buckets.
    let clone = by_tenant.clone();
    let finished = call_all(clone.layer(FastTool::new()), [of("x")]).await;
    assert_eq!(finished[0].error_kind(), Some(ErrorKind::RateLimited));
}

/// Q4.
#[tokio::test(start_paused = true)]
async fn remaining_and_reset_after_are_readable() {
    let rate = RateLimitLayer::by(quota(10, 10), tenant).reject();
    let stack = rate.layer(FastTool::new());
    assert_eq!(
        (rate.remaining_for("x"), rate.reset_after_for("x")),
        (10, ms(0))
    );
    call_all(stack.clone(), (0..7).map(|_| of("x"))).await;
    assert_eq!(
        (rate.remaining_for("x"), rate.reset_after_for("x")),
        (3, ms(690))
    );
    assert_eq!((rate.remaining(), rate.reset_after()), (3, ms(690)));
    sleep(ms(690)).await;
    assert_eq!(
        (rate.remaining_for("x"), rate.reset_after_for("x")),
        (10, ms(0))
    );
}

/// Each key is used once, and its bucket is full again a millisecond later.
#[tokio::test(start_paused = true)]
async fn hundred_thousand_keys_fit_one_after_the_other() {
    for reject in [false, true] {
        let rate = RateLimitLayer::by(quota(1_000, 1), tenant).with_key_bounds(100, ms(0));
        let rate = if reject { rate.reject() } else { rate };
        let mut stack = rate.layer(tool_fn("at_once", async |(): ()| {
            Ok::<_, Infallible>("done")
        }));
        for n in 0..100_000 {
            if n % 100 == 0 {
                sleep(ms(1)).await;
            }
            stack.call(of(&n.to_string())).await.unwrap();
        }
    }
}

/// While all keys are in use, new keys share a limit of the size of one key.
#[tokio::test(start_paused = true)]
async fn new_keys_above_the_bound_share_one_limit_until_another_is_idle() {
    let limit = ConcurrencyLimitLayer::by(1, tenant).with_key_bounds(2, ms(60_000));
    let tool = SlowTool::new(ms(100));
    let stack = limit.layer(tool.clone());
    let calls = ["a", "b", "c", "d"].map(of);
    let running = tokio::spawn(call_all(stack.clone(), calls));
    sleep(ms(50)).await;
    // `c` runs, and `d` waits for it.
    assert_eq!((limit.in_flight(), limit.queued()), (3, 1));
    assert_eq!((limit.available(), limit.available_for("d")), (0, 1));
    assert_eq!(ends(&running.await.unwrap()), [100, 100, 100, 200]);
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    // The keys `a` and `b` are at rest by now, and make room.
    let finished = call_all(stack, ["e", "f"].map(of)).await;
    assert_eq!(ends(&finished), [100, 100]);

    // A bucket that is not full is not at rest.
    let rate = RateLimitLayer::by(quota(10, 2), tenant)
        .with_key_bounds(1, ms(0))
        .reject();
    let stack = rate.layer(FastTool::new());
    let finished = call_all(stack.clone(), ["a", "b", "c", "d"].map(of)).await;
    let kinds: Vec<_> = finished.iter().map(Finished::error_kind).collect();
    assert_eq!(kinds, [None, None, None, Some(ErrorKind::RateLimited)]);
    assert_eq!((rate.remaining_for("a"), rate.remaining()), (1, 0));
    sleep(ms(100)).await;
    call_all(stack, [of("b")]).await;
    // It has a bucket of its own now.
    assert_eq!(rate.remaining_for("b"), 1);
    assert_eq!(rate.remaining_for("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_that_a_limit_names_never_share_one() {
    let limits = PerTool::new(1).with("big", 3).with("free", None);
    let limit = ConcurrencyLimitLayer::by(limits, tenant).with_key_bounds(1, ms(60_000));
    let calls = ["a", "b", "big", "big", "big", "big", "free", "free"].map(of);
    let finished = call_all(limit.layer(SlowTool::new(ms(100))), calls).await;
    assert_eq!(ends(&finished), [100, 100, 100, 100, 100, 200, 100, 100]);

    let added = PerTool::new(quota(10, 1)).with("big", quota(10, 3));
    let rate = RateLimitLayer::by(PerTool::none(), tenant).with_quota(added);
    let rate = rate.with_key_bounds(0, ms(0)).reject();
    let calls = ["a", "b", "big", "big", "big", "big"].map(of);
    let finished = call_all(rate.layer(FastTool::new()), calls).await;
    let admitted: Vec<_> = finished.iter().map(Finished::is_ok).collect();
    assert_eq!(admitted, [true, false, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn limit_that_new_keys_share_follows_changes() {
    let limit = ConcurrencyLimitLayer::by(1, tenant).with_key_bounds(0, ms(0));
    let stack = limit.layer(SlowTool::new(ms(100)));
    let running = tokio::spawn(call_all(stack.clone(), ["a", "b", "c"].map(of)));
    sleep(ms(50)).await;
    limit.set_limit(2).unwrap();
    assert_eq!(ends(&running.await.unwrap()), [100, 150, 200]);
    limit.set_queue_capacity(0);
    let finished = call_all(stack, ["a", "b", "c"].map(of)).await;
    let full = overload_reason(finished[2].result.as_ref().unwrap_err());
    assert_eq!(full, Some(OverloadReason::queue_full(0)));

    let rate = RateLimitLayer::by(quota(10, 1), tenant)
        .with_key_bounds(0, ms(0))
        .reject();
    rate.set_quota(None).unwrap();
    let finished = call_all(rate.layer(FastTool::new()), ["a", "b"].map(of)).await;
    assert_eq!(count_ok(&finished), 2);
}

/// Evicting a key while its calls wait would give it a second limit.
#[tokio::test(start_paused = true)]
async fn key_in_use_is_not_evicted() {
    let limit = ConcurrencyLimitLayer::by(1, tenant).with_key_bounds(3, ms(0));
    let tool = SlowTool::new(ms(100));
    let stack = limit.layer(tool.clone());
    let held = begin(&stack, of("held")).await;
    let waits = begin(&stack, of("held")).await;
    let mut others = limit.layer(tool_fn("at_once", async |(): ()| {
        Ok::<_, Infallible>("done")
    }));
    for n in 0..1_000 {
        others.call(of(&n.to_string())).await.unwrap();
    }
    assert_eq!((limit.available_for("held"), limit.queued()), (0, 1));
    held.await.unwrap().unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(tool.probe().max(), 1);
}

// === costs ===

#[derive(Debug, Clone, Copy)]
struct Units(u32);

/// Case F4. What a call of one key holds up, here in the function that returns its key, delays no
/// call of another key. How throughput grows with threads is the benchmark line `keys_two_threads`.
#[test]
fn call_that_blocks_its_thread_delays_no_call_of_another_key() {
    let (entered, enters) = std::sync::mpsc::channel();
    let (resume, resumed) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new((entered, resumed));
    let limit = ConcurrencyLimitLayer::by(1, move |context: &CallContext| {
        if context.tenant() == Some("blocks") {
            let gate = gate.lock().expect("no panic");
            gate.0.send(()).expect("the test waits");
            gate.1.recv().expect("the test resumes");
        }
        tenant(context)
    });
    let tool = limit.layer(FastTool::new());
    let run = |tool: ConcurrencyLimit<FastTool>, tenant: String| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build();
        let response = runtime
            .expect("a runtime")
            .block_on(tool.oneshot(of(&tenant)));
        response.expect("a response");
    };
    let blocks = tool.clone();
    let blocked = std::thread::spawn(move || run(blocks, "blocks".to_owned()));
    enters.recv().expect("the call enters");
    // One thread holds the function of its key meanwhile.
    for number in 0..100 {
        run(tool.clone(), format!("tenant-{number}"));
    }
    assert!(!blocked.is_finished());
    resume.send(()).expect("the call waits");
    blocked.join().expect("no panic");
    assert_eq!(limit.in_flight(), 0);
}

fn costing(id: &str, units: u32) -> ToolCall {
    call("tool").with_id(id).with_extension(Units(units))
}

fn units(call: &CallContext) -> u32 {
    call.extension::<Units>().map_or(1, |units| units.0)
}

fn expected<const N: usize>(starts: [(u64, &str); N]) -> Vec<(Duration, String)> {
    starts.map(|(at, id)| (ms(at), id.to_owned())).to_vec()
}

/// The first waiter keeps its position until all its permits are available.
#[tokio::test(start_paused = true)]
async fn call_with_a_high_cost_is_not_overtaken_and_not_starved() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(3).with_cost(|call| units(call) as usize);
    let stack = limit.layer(recording(&starts));
    let calls = [
        ("a", 1),
        ("b", 2),
        ("heavy", 3),
        ("c", 1),
        ("d", 1),
        ("free", 0),
        ("e", 1),
    ];
    let finished = call_all(stack, calls.map(|(id, units)| costing(id, units))).await;
    assert_eq!(count_ok(&finished), 7);
    assert_eq!(
        starts.entries(),
        expected([
            (0, "a"),
            (0, "b"),
            (0, "free"),
            (100, "heavy"),
            (200, "c"),
            (200, "d"),
            (200, "e")
        ])
    );
    assert_eq!((limit.available(), limit.queued()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn waiters_behind_a_dropped_call_with_a_high_cost_start_at_once() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(3).with_cost(|call| units(call) as usize);
    let stack = limit.layer(recording(&starts));
    let a = begin(&stack, costing("a", 1)).await;
    let heavy = begin(&stack, costing("heavy", 3)).await;
    let light = ["b", "c", "d"].map(|id| begin(&stack, costing(id, 1)));
    let light = futures_util::future::join_all(light).await;
    assert_eq!((limit.available(), limit.queued()), (2, 4));
    sleep(ms(50)).await;
    heavy.abort();
    assert!(heavy.await.is_err());
    assert_eq!((limit.available(), limit.queued()), (0, 1));
    for running in light.into_iter().chain([a]) {
        running.await.unwrap().unwrap();
    }
    assert_eq!(
        starts.entries(),
        expected([(0, "a"), (50, "b"), (50, "c"), (100, "d")])
    );
}

#[tokio::test(start_paused = true)]
async fn cost_above_the_limit_is_rejected_at_once() {
    let limit = ConcurrencyLimitLayer::new(3).with_cost(|call| units(call) as usize);
    let tool = SlowTool::new(ms(100));
    let finished = call_all(
        limit.layer(tool.clone()),
        [costing("a", 3), costing("b", 4)],
    )
    .await;
    let rejected = finished[1].result.as_ref().unwrap_err();
    assert_eq!(
        overload_reason(rejected),
        Some(OverloadReason::too_heavy(4, 3))
    );
    assert_eq!(
        rejected.to_string(),
        "overloaded: the call costs 4, more than the limit of 3 \
         (by `concurrency`, limit: 3 at once)"
    );
    assert_eq!((finished[1].at, rejected.is_retryable()), (ms(0), false));
    assert_eq!(tool.probe().started(), 1);

    for rate in [
        RateLimitLayer::new(quota(10, 3)),
        RateLimitLayer::new(quota(10, 3)).reject(),
    ] {
        let stack = rate.with_cost(units).layer(FastTool::new());
        let rejected = stack.oneshot(costing("a", 4)).await.unwrap_err();
        assert_eq!(
            overload_reason(&rejected),
            Some(OverloadReason::too_heavy(4, 3))
        );
    }
}

/// Q4.
#[tokio::test(start_paused = true)]
async fn call_takes_as_many_tokens_as_it_costs() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(10, 10)).with_cost(units);
    let stack = rate.layer(recording(&starts));
    let calls = [("a", 6), ("b", 6), ("c", 1), ("free", 0), ("d", 10)];
    call_all(stack, calls.map(|(id, units)| costing(id, units))).await;
    // 10 - 6 leaves 4: b waits for 2 more, c is behind b, and d waits for a full bucket.
    assert_eq!(
        starts.entries(),
        expected([(0, "a"), (0, "free"), (200, "b"), (300, "c"), (1_300, "d")])
    );

    let rate = RateLimitLayer::new(quota(10, 10)).with_cost(units).reject();
    let stack = rate.layer(FastTool::new());
    let [first, second, third] = [7, 7, 3].map(|units| stack.clone().oneshot(costing("x", units)));
    first.await.unwrap();
    // After 10 ms a tenth of a token is refilled.
    assert_eq!(second.await.unwrap_err().retry_after(), Some(ms(390)));
    // A rejection takes no token.
    third.await.unwrap();
}

/// The next waiter needs fewer tokens than the one that left.
#[tokio::test(start_paused = true)]
async fn waiter_behind_a_dropped_call_starts_when_its_own_tokens_are_available() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(10, 10)).with_cost(units);
    let stack = rate.layer(recording(&starts));
    let first = begin(&stack, costing("first", 10)).await;
    let dropped = begin(&stack, costing("dropped", 10)).await;
    let cheap = begin(&stack, costing("cheap", 2)).await;
    sleep(ms(50)).await;
    dropped.abort();
    first.await.unwrap().unwrap();
    cheap.await.unwrap().unwrap();
    assert_eq!(starts.entries(), expected([(0, "first"), (200, "cheap")]));
}

/// Q5.
#[tokio::test(start_paused = true)]
async fn rejection_is_typed_named_and_counted() {
    let rate = RateLimitLayer::new(quota(10, 20)).reject();
    let finished = call_all(rate.layer(FastTool::new()), calls(50)).await;
    assert_eq!(
        (
            count_ok(&finished),
            count_kind(&finished, ErrorKind::RateLimited)
        ),
        (20, 30)
    );
    for rejected in &finished[20..] {
        let rejected = rejected.result.as_ref().unwrap_err();
        assert_eq!(rejected.outcome(), Outcome::Rejected);
        assert_eq!(
            (rejected.retry_after(), rejected.tool()),
            (Some(ms(100)), Some("tool"))
        );
        assert_eq!(rejected.kind().as_str(), "rate_limited");
        // A boxed error is found by downcast.
        let boxed: BoxError = rejected.clone().into();
        assert_eq!(ToolError::from(boxed).retry_after(), Some(ms(100)));
    }
}
