//! Rows of the guide to the order that no test of a layer holds.

use toolbooth::breaker::BreakerState;
use toolbooth::{
    BreakerPolicy, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    DrainReport, ErrorKind, Outcome, RetryPolicy, ShutdownLayer,
};
use toolbooth_test::{BoxTool, Recorder, Script, ScriptedTool, boxed, call, call_all, ms};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceExt};

/// Makes a call with a hook of its caller, which hangs, and shuts down. Returns the report, the
/// hooks that the cleanup layer counts, and the outcomes of the hook.
async fn shut_down(cleanup_is_outside: bool) -> (DrainReport, u64, Vec<Outcome>) {
    let (shutdown, cleanup) = (ShutdownLayer::new(), CleanupLayer::new());
    let tool = ScriptedTool::script(Script::new().hang());
    let stack = match cleanup_is_outside {
        false => boxed(shutdown.layer(cleanup.layer(tool))),
        true => boxed(cleanup.layer(shutdown.layer(tool))),
    };
    let (call, ended) = (call("tool"), Recorder::new());
    call.context().on_cleanup(ended.hook());
    let running = tokio::spawn(stack.oneshot(call));
    tokio::time::sleep(ms(1)).await;
    let report = shutdown.shutdown(ms(10), ms(1_000)).await;
    assert!(running.await.expect("no panic").is_err());
    (report, cleanup.report().ran, ended.values())
}

#[tokio::test(start_paused = true)]
async fn hooks_are_counted_by_the_inner_one_of_shutdown_and_cleanup() {
    for (cleanup_is_outside, by_shutdown, by_cleanup) in [(false, 0, 1), (true, 1, 0)] {
        let (report, ran, ended) = shut_down(cleanup_is_outside).await;
        assert_eq!((report.ran, ran), (by_shutdown, by_cleanup));
        assert_eq!((report.cancelled, report.orphaned), (1, 0));
        assert_eq!(ended, [Outcome::Cancelled]);
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_an_open_breaker_rejects_reaches_only_an_outer_cleanup_layer() {
    for (cleanup_is_outside, counted) in [(false, 0), (true, 1)] {
        let (breaker, cleanup) = (CircuitBreakerLayer::new(), CleanupLayer::new());
        breaker.trip();
        let tool = ScriptedTool::ready();
        let stack = match cleanup_is_outside {
            false => boxed(breaker.layer(cleanup.layer(tool))),
            true => boxed(cleanup.layer(breaker.layer(tool))),
        };
        let (call, ended) = (call("tool"), Recorder::new());
        call.context().on_cleanup(ended.hook());
        let finished = call_all(stack, [call]).await;
        assert_eq!(finished[0].error_kind(), Some(ErrorKind::CircuitOpen));
        tokio::time::sleep(ms(1)).await;
        assert_eq!(ended.values(), [Outcome::Rejected]);
        assert_eq!(cleanup.report().ran, counted);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_counts_calls_that_wait_inside_and_rejects_those_that_wait_outside() {
    for (limit_is_outside, in_flight, cancelled) in [(false, 2, 2), (true, 1, 1)] {
        let (shutdown, limit) = (ShutdownLayer::new(), ConcurrencyLimitLayer::new(1));
        let tool = ScriptedTool::script(Script::new().hang());
        let stack = match limit_is_outside {
            false => boxed(shutdown.layer(limit.layer(tool))),
            true => boxed(limit.layer(shutdown.layer(tool))),
        };
        let calls = tokio::spawn(call_all(stack, [call("runs"), call("waits")]));
        tokio::time::sleep(ms(1)).await;
        assert_eq!((shutdown.in_flight(), limit.queued()), (in_flight, 1));
        let report = shutdown.shutdown(ms(10), ms(1_000)).await;
        assert_eq!((report.completed, report.cancelled), (0, cancelled));
        let kinds = calls
            .await
            .unwrap()
            .into_iter()
            .map(|call| call.error_kind());
        let waits = if limit_is_outside {
            ErrorKind::Overloaded
        } else {
            ErrorKind::Cancelled
        };
        let expected = [Some(ErrorKind::Cancelled), Some(waits)];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_counts_a_call_between_two_attempts_only_outside_of_the_retry() {
    let policy = || RetryPolicy::new(2).with_idempotent(true);
    for retry_is_outside in [false, true] {
        let shutdown = ShutdownLayer::new();
        // The next attempt is at least a second later.
        let fails = Script::new().fail(toolbooth::ToolError::rate_limited(ms(1_000)));
        let tool = ScriptedTool::script(fails);
        let stack: BoxTool = match retry_is_outside {
            false => boxed(shutdown.layer(RetryLayer::new(policy()).layer(tool.clone()))),
            true => boxed(RetryLayer::new(policy()).layer(shutdown.layer(tool.clone()))),
        };
        let running = tokio::spawn(call_all(stack, [call("tool")]));
        tokio::time::sleep(ms(500)).await;
        assert_eq!(shutdown.in_flight(), usize::from(!retry_is_outside));
        let report = shutdown.shutdown(ms(10), ms(1_000)).await;
        assert_eq!(report.cancelled, u64::from(!retry_is_outside));
        let finished = running.await.unwrap();
        let kind = if retry_is_outside {
            ErrorKind::Overloaded
        } else {
            ErrorKind::Cancelled
        };
        assert_eq!(finished[0].error_kind(), Some(kind));
        assert_eq!(tool.probe().started(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_is_a_failure_of_the_breaker_on_either_side_of_the_layer_that_catches_it() {
    let policy = || BreakerPolicy::new().with_consecutive_failures(1).unwrap();
    for catch_is_outside in [false, true] {
        let breaker = CircuitBreakerLayer::with_policy(policy());
        let tool = ScriptedTool::script(Script::new().panic("out of bounds"));
        let stack = match catch_is_outside {
            false => boxed(breaker.layer(CatchPanicLayer::new().layer(tool))),
            true => boxed(CatchPanicLayer::new().layer(breaker.layer(tool))),
        };
        let finished = call_all(stack, [call("tool")]).await;
        assert_eq!(finished[0].outcome(), Outcome::Panicked);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
