//! How hooks run, and how long the caller waits for them.

use toolbooth::{MAX_HOOKS, Outcome, PartialResultLayer, TimeoutLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_run_last_in_first_out_one_after_the_other() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    let call = call();
    for (name, takes) in [("first", 10), ("second", 30), ("third", 20)] {
        let registered = hook(&events, call.context(), name, ms(takes));
        assert_eq!(registered, Registered::Held);
    }
    complete(&cleanup, call).await;
    assert!(events.is_empty());
    assert_eq!(counts(cleanup.drain(MINUTE).await), (3, 0, 0, 0));
    assert_eq!(
        entries(&events),
        [("third", 20), ("second", 50), ("first", 60)]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_caller_and_tool_share_one_order() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    let call = call();
    hook(&events, call.context(), "caller", ms(0));
    let tools = events.clone();
    let tool = ScriptedTool::new(move |call| {
        hook(&tools, call.context(), "tool", ms(0));
        std::future::ready(Err("half way".into()))
    });
    error_of(cleanup.layer(tool), call).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (2, 0, 0, 0));
    assert_eq!(events.values(), ["tool", "caller"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_is_stopped_at_the_default_limit_of_5_s_and_the_others_run() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    let call = call();
    hook(&events, call.context(), "last", ms(10));
    hook(&events, call.context(), "overruns", ms(5_001));
    hook(&events, call.context(), "in time", ms(5_000));
    complete(&cleanup, call).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (2, 1, 0, 0));
    assert_eq!(entries(&events), [("in time", 5_000), ("last", 10_010)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_is_stopped_at_the_limit_that_is_set() {
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let (events, endless) = (Events::new(), Probe::new());
    let call = call();
    hook(&events, call.context(), "last", ms(100));
    let guard = endless.enter();
    call.context().on_cleanup(move |_| async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    complete(&cleanup, call).await;
    pass(ms(99)).await;
    assert_eq!(
        (endless.running(), counts(cleanup.report())),
        (1, (0, 0, 0, 0))
    );
    pass(ms(1)).await;
    assert_eq!(
        (endless.running(), counts(cleanup.report())),
        (0, (0, 1, 0, 0))
    );
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 1, 0, 0));
    assert_eq!(entries(&events), [("last", 200)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panicking_hook_is_counted_and_the_others_run() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    let call = call();
    let context = call.context();
    hook(&events, context, "last", ms(0));
    context.on_cleanup(|_| async { panic!("in the future") });
    context.on_cleanup(|_| -> std::future::Ready<()> { panic!("in the function") });
    hook(&events, context, "first", ms(0));
    complete(&cleanup, call).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (2, 2, 0, 0));
    assert_eq!(events.values(), ["first", "last"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_beyond_64_are_rejected_and_dropped() {
    let cleanup = CleanupLayer::new();
    let (hooks, ran) = (Probe::new(), Probe::new());
    let call = call();
    for at in 1..=70 {
        let (guard, ran) = (hooks.enter(), ran.clone());
        let registered = call.context().on_cleanup(move |_| async move {
            let _guards = (guard, ran.enter());
        });
        assert_eq!(registered == Registered::Held, at <= 64);
        assert_eq!(registered == Registered::Rejected, at > 64);
    }
    assert_eq!((hooks.finished(), MAX_HOOKS), (6, 64));
    complete(&cleanup, call).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (64, 0, 0, 0));
    assert_eq!((ran.started(), hooks.finished()), (64, 70));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_registered_after_the_end_runs_at_once_with_the_outcome() {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(300)))
        .layer(CleanupLayer::new())
        .layer(PartialResultLayer::new())
        .service(ScriptedTool::new(async |call| {
            call.context().emit("half");
            std::future::pending().await
        }));
    let call = call();
    let context = call.context().clone();
    error_of(stack, call).await;
    assert_eq!(context.on_cleanup(|_| async {}), Registered::RunsNow);
    let late = Outcomes::of(&context);
    assert_eq!(late.with_partials().await, [(Outcome::TimedOut, 1)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_registered_by_a_hook_runs_at_once() {
    let call = call();
    let context = call.context().clone();
    let nested = Recorder::new();
    let recorder = nested.clone();
    call.context().on_cleanup(move |_| async move {
        recorder.record(Outcomes::of(&context).all().await);
    });
    let cleanup = CleanupLayer::new();
    complete(&cleanup, call).await;
    cleanup.drain(MINUTE).await;
    assert_eq!(nested.values(), [[Outcome::Completed]]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_get_the_partial_result_of_a_failure_and_none_of_a_success() {
    for (limit, end) in [
        (300, (Outcome::TimedOut, 2)),
        (500, (Outcome::Completed, 0)),
    ] {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(limit)))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(ScriptedTool::new(async |call| {
                for item in ["a", "b"] {
                    call.context().emit(item);
                    tokio::time::sleep(ms(200)).await;
                }
                Ok(toolbooth::ToolOutput::text("done"))
            }));
        let call = call();
        let outcomes = Outcomes::of(call.context());
        assert_eq!(stack.oneshot(call).await.is_ok(), limit == 500);
        assert_eq!(outcomes.with_partials().await, [end]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_a_streaming_response_run_after_its_end_which_waits_for_none() {
    let cleanup = CleanupLayer::new().with_wait(MINUTE);
    let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let events = Events::new();
    let call = call();
    hook(&events, call.context(), "hook", ms(500));
    let mut stream = stream_of(cleanup.layer(tool), call).await;
    assert_eq!(next_text(&mut stream).await, "a");
    assert_eq!(next_text(&mut stream).await, "b");
    pass(ms(90)).await;
    assert!(next(&mut stream).await.is_none());
    events.record("end");
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(entries(&events), [("end", 100), ("hook", 600)]);
}

// === what the caller waits for

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_is_returned_at_the_limit_and_the_hook_ends_later() {
    let cleanup = CleanupLayer::new();
    let stack = TimeoutLayer::new(ms(300)).layer(cleanup.layer(ScriptedTool::pending()));
    let events = Events::new();
    let call = call();
    hook(&events, call.context(), "hook", ms(500));
    error_of(stack, call).await;
    events.record("error");
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(entries(&events), [("error", 300), ("hook", 800)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn with_wait_delays_the_end_until_the_hooks_have_run_or_the_wait_expires() {
    for (wait, expected) in [
        (1_000, [("hook", 500), ("end", 500)]),
        (501, [("hook", 500), ("end", 500)]),
        (499, [("end", 499), ("hook", 500)]),
        (200, [("end", 200), ("hook", 500)]),
        (0, [("end", 0), ("hook", 500)]),
    ] {
        for (tool, succeeds) in [(ScriptedTool::ready(), true), (support::fails("no"), false)] {
            let cleanup = CleanupLayer::new().with_wait(ms(wait));
            let events = Events::new();
            let call = call();
            hook(&events, call.context(), "hook", ms(500));
            let response = cleanup.layer(tool).oneshot(call).await;
            events.record("end");
            assert_eq!(response.is_ok(), succeeds);
            assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 0, 0, 0));
            assert_eq!(entries(&events), expected);
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn with_wait_does_not_delay_a_call_without_hooks() {
    let start = Instant::now();
    complete(&CleanupLayer::new().with_wait(MINUTE), call()).await;
    assert_eq!(start.elapsed(), ms(0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn unlimited_wait_lasts_as_long_as_the_hooks() {
    let cleanup = CleanupLayer::new()
        .with_wait(Duration::MAX)
        .with_hook_limit(Duration::MAX);
    let start = Instant::now();
    call_with_hook(&cleanup, &Events::new(), MINUTE).await;
    assert_eq!(start.elapsed(), MINUTE);
    assert_eq!(counts(cleanup.report()), (1, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn future_dropped_while_it_waits_for_hooks_stops_none() {
    let cleanup = CleanupLayer::new().with_wait(MINUTE);
    let events = Events::new();
    let call = call();
    hook(&events, call.context(), "hook", ms(500));
    let service = cleanup.layer(ScriptedTool::ready());
    let mut future = tokio_test::task::spawn(service.oneshot(call));
    assert!(future.poll().is_pending());
    pass(ms(100)).await;
    drop(future);
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(entries(&events), [("hook", 500)]);
}
