//! Cleanup (guarantees C1 to C4, C6, C7).

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use toolbooth::{CleanupLayer, ConcurrencyLimitLayer};
use toolbooth_test::Probe;

use super::*;

/// A tool that acquires a resource, registers three hooks, and ends as its name says.
#[expect(clippy::panic, reason = "the tool panics")]
fn ending_tool(resources: Probe, hooks: Recorder<(&'static str, Outcome)>) -> BoxTool {
    boxed(tool_fn("ending", move |call: CallContext, (): ()| {
        let (resources, hooks) = (resources.clone(), hooks.clone());
        async move {
            let _resource = resources.enter();
            for label in ["first", "second", "third"] {
                call.on_cleanup(hooks.hook_for(label));
            }
            sleep(ms(100)).await;
            match call.tool() {
                "completes" => Ok("done"),
                "fails" => Err("failed"),
                "panics" => panic!("the tool panics"),
                _ => pending().await,
            }
        }
    }))
}

/// C1.
#[tokio::test(start_paused = true)]
async fn every_ending_releases_once_and_runs_hooks_last_in_first_out() {
    for (name, outcome, ends_at) in [
        ("completes", Outcome::Completed, 100),
        ("fails", Outcome::Failed, 100),
        ("panics", Outcome::Panicked, 100),
        ("times out", Outcome::TimedOut, 2_000),
        ("is dropped", Outcome::Cancelled, 499),
    ] {
        let (resources, hooks) = (Probe::new(), Recorder::new());
        let booth = booth(ms(2_000));
        let tool = booth.wrap(ending_tool(resources.clone(), hooks.clone()));
        let watch = Stopwatch::start();
        for round in 1..=5 {
            let running = AssertUnwindSafe(tool.clone().oneshot(call(name))).catch_unwind();
            match name {
                "is dropped" => {
                    tokio::time::timeout(ms(499), running).await.unwrap_err();
                }
                "panics" => assert!(running.await.is_err()),
                _ => assert_eq!(toolbooth_test::outcome(running.await), outcome),
            }
            assert_eq!(resources.running(), 0, "{name}");
            assert_eq!((resources.started(), resources.finished()), (round, round));
        }
        assert_eq!(watch.elapsed(), ms(5 * ends_at), "{name}");
        hooks_end(&booth).await;
        let lifo = ["third", "second", "first"].map(|label| (label, outcome));
        assert_eq!(hooks.values(), lifo.repeat(5), "{name}");
    }
}

/// C1.
#[test]
fn shutdown_of_the_runtime_releases_everything_and_counts_every_hook() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (resources, hooks) = (Probe::new(), Recorder::new());
    let booth = booth(ms(2_000));
    let tool = booth.wrap(ending_tool(resources.clone(), hooks.clone()));
    runtime.block_on(async {
        for _ in 0..30 {
            tokio::spawn(tool.clone().oneshot(call("hangs")));
        }
        sleep(ms(1)).await;
    });
    assert_eq!((resources.running(), booth.limit.in_flight()), (30, 30));
    drop(runtime);

    assert_eq!((resources.running(), resources.finished()), (0, 30));
    assert_eq!(booth.limit.available(), PERMITS);
    // No hook ran without a drain. Each is counted as abandoned.
    let report = booth.cleanup.report();
    assert_eq!((report.ran, report.failed, report.abandoned), (0, 0, 90));
    assert!(hooks.is_empty());
}

/// C2.
#[tokio::test(start_paused = true)]
async fn cleanup_belongs_to_the_call_and_not_to_the_tool_or_its_name() {
    // One tool: each call has a cleanup under its own id.
    let ends = Recorder::new();
    let hooks = ends.clone();
    let tool = tool_fn("one", move |call: CallContext, (): ()| {
        call.on_cleanup(hooks.hook_for(call.id()));
        pending::<Result<(), Infallible>>()
    });
    let booth = booth(ms(100));
    let calls = (0..30).map(|n| call("one").with_id(format!("call {n}")));
    call_all(booth.wrap(tool), calls).await;
    hooks_end(&booth).await;
    let expected: Vec<_> = (0..30)
        .map(|n| (format!("call {n}").into(), Outcome::TimedOut))
        .collect();
    assert_eq!(ends.values(), expected);

    // 30 tools of one name: each runs its cleanup.
    let tools: Vec<_> = (0..30)
        .map(|_| ResourceCleanupTool::new(ms(60_000)))
        .collect();
    let running = tools
        .iter()
        .map(|tool| finish(booth.wrap(tool.clone()), call("same name")));
    join_all(running).await;
    hooks_end(&booth).await;
    for tool in &tools {
        assert_eq!(tool.resources().finished(), 1);
        assert_eq!(tool.hooks().values(), [Outcome::TimedOut]);
    }
}

/// C3.
#[tokio::test(start_paused = true)]
async fn tool_is_dropped_before_the_timeout_is_returned_to_a_poll_by_reference() {
    let tool = ResourceCleanupTool::new(ms(60_000));
    let booth = booth(ms(2_000));
    let alone = boxed(TimeoutLayer::new(ms(2_000)).layer(tool.clone()));
    for (round, mut stack) in [alone, booth.wrap(tool.clone())].into_iter().enumerate() {
        let mut running = stack.ready().await.unwrap().call(call("resource"));
        let error = (&mut running).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let resources = tool.resources();
        assert_eq!((resources.running(), resources.finished()), (0, round + 1));
        // The future of the stack itself is dropped only here.
        drop(running);
        assert_eq!(resources.finished(), round + 1);
    }
}

/// C3, control: the test above fails with the timeout of tower.
#[tokio::test(start_paused = true)]
async fn tower_timeout_returns_the_error_while_the_tool_is_alive() {
    let tool = ResourceCleanupTool::new(ms(60_000));
    let layer = tower::timeout::TimeoutLayer::new(ms(2_000));
    let running = layer.layer(tool.clone()).oneshot(call("resource"));
    let mut running = Box::pin(running);
    assert!((&mut running).await.is_err());
    assert_eq!(tool.resources().running(), 1);
    drop(running);
    assert_eq!(tool.resources().running(), 0);
}

/// C4.
#[tokio::test(start_paused = true)]
async fn async_hook_does_not_delay_the_caller_and_drain_waits_for_it() {
    let booth = booth(ms(300));
    let done = Recorder::new();
    let call = call("slow");
    let hook = done.clone();
    call.context().on_cleanup(async move |outcome| {
        sleep(ms(500)).await;
        hook.record(outcome);
    });
    let finished = finish(booth.wrap(SlowTool::new(ms(5_000))), call).await;
    assert_timed_out(&finished, ms(300));
    assert!(done.is_empty());

    let report = booth.cleanup.drain(ms(5_000)).await;
    assert_eq!(done.entries(), [(ms(800), Outcome::TimedOut)]);
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 0, 0));
}

/// C4.
#[tokio::test(start_paused = true)]
async fn hook_has_its_own_limit() {
    // The default is 5 s.
    for (cleanup, limit) in [
        (CleanupLayer::new(), ms(5_000)),
        (CleanupLayer::new().with_hook_limit(ms(200)), ms(200)),
    ] {
        let booth = Layers {
            cleanup,
            ..booth(ms(300))
        };
        let after = Recorder::new();
        let call = call("slow");
        call.context().on_cleanup(after.hook());
        call.context().on_cleanup(|_| pending());
        let finished = finish(booth.wrap(SlowTool::new(ms(5_000))), call).await;
        assert_timed_out(&finished, ms(300));
        let report = booth.cleanup.drain(ms(60_000)).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (1, 1, 0));
        // A hook that exceeds the limit stops no other.
        assert_eq!(after.entries(), [(ms(300) + limit, Outcome::TimedOut)]);
    }
}

/// C6.
#[tokio::test(start_paused = true)]
async fn permits_and_queue_slots_are_released_after_thirty_timeouts() {
    for (permits, started) in [(30, 30), (10, 10)] {
        let tool = SlowTool::new(ms(60_000));
        let booth = Layers {
            limit: ConcurrencyLimitLayer::new(permits),
            ..booth(ms(2_000))
        };
        let stack = booth.wrap(tool.clone());
        let running = tokio::spawn(call_all(stack.clone(), calls(30)));
        sleep(ms(1)).await;
        assert_eq!(booth.limit.in_flight(), started);
        assert_eq!(booth.limit.queued(), 30 - started);
        for finished in running.await.unwrap() {
            assert_timed_out(&finished, ms(2_000));
        }
        assert_eq!(booth.limit.available(), permits);
        assert_eq!((booth.limit.in_flight(), booth.limit.queued()), (0, 0));
        // The queued calls never ran.
        assert_eq!(tool.probe().started(), started);
        // All permits can be acquired again at once.
        let again = tokio::spawn(call_all(stack, calls(permits)));
        sleep(ms(1)).await;
        assert_eq!(tool.probe().running(), permits);
        again.await.unwrap();
    }
}

/// C6.
#[tokio::test(start_paused = true)]
async fn waiters_that_time_out_leave_the_queue_while_others_run() {
    let tool = SlowTool::new(ms(60_000));
    let booth = Layers {
        limit: ConcurrencyLimitLayer::new(10),
        ..booth(ms(2_000))
    };
    // The first ten, which run, have a longer limit than the waiters.
    let calls = (0..30).map(|n| match n < 10 {
        true => call("tool").with_timeout(ms(3_000)),
        false => call("tool"),
    });
    let watch = Stopwatch::start();
    let calls: Vec<_> = calls.collect();
    let running = tokio::spawn(call_all(booth.wrap(tool.clone()), calls));
    watch.until(ms(1_999)).await;
    assert_eq!((booth.limit.in_flight(), booth.limit.queued()), (10, 20));
    watch.until(ms(2_001)).await;
    assert_eq!((booth.limit.in_flight(), booth.limit.queued()), (10, 0));
    for (n, finished) in running.await.unwrap().iter().enumerate() {
        assert_timed_out(finished, ms(if n < 10 { 3_000 } else { 2_000 }));
    }
    assert_eq!(booth.limit.available(), 10);
    assert_eq!(tool.probe().started(), 10);
}

/// C7.
#[tokio::test(start_paused = true)]
async fn each_call_has_exactly_one_outcome() {
    let booth = Layers {
        limit: ConcurrencyLimitLayer::new(24).with_queue_capacity(6),
        ..booth(ms(2_000))
    };
    let (resources, hooks) = (Probe::new(), Recorder::new());
    let tool = booth.wrap(ending_tool(resources.clone(), hooks.clone()));
    let ends = Recorder::new();
    let names = ["completes", "fails", "panics", "hangs"];
    // 24 run, 6 wait until 100 ms, the last 6 are rejected: nine of each name.
    let running = (0..36).map(|n| {
        let call = call(names[n % 4]);
        call.context().on_cleanup(ends.hook_for(n));
        AssertUnwindSafe(tool.clone().oneshot(call)).catch_unwind()
    });
    let results = join_all(running).await;
    hooks_end(&booth).await;

    let mut ends = ends.values();
    ends.sort_by_key(|(n, _)| *n);
    let results = results.into_iter().map(toolbooth_test::outcome);
    assert_eq!(ends, results.enumerate().collect::<Vec<_>>());
    let count = |outcome| ends.iter().filter(|(_, end)| *end == outcome).count();
    assert_eq!(count(Outcome::Completed), 8);
    assert_eq!(count(Outcome::Failed), 8);
    assert_eq!(count(Outcome::Panicked), 7);
    assert_eq!(count(Outcome::TimedOut), 7);
    assert_eq!(count(Outcome::Rejected), 6);
    // The hooks of the tool: three for each call that reached it.
    assert_eq!((resources.started(), hooks.len()), (30, 90));
}
