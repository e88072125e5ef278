//! Which layer runs the hooks, and with which outcome.

use toolbooth::{
    ConcurrencyLimitLayer, Outcome, PartialResultLayer, TimeoutLayer, ToolCall, ToolError,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{error, fails, text};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn innermost_layer_that_sees_the_end_runs_the_hooks() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(300)))
        .layer(inner.clone())
        .service(ScriptedTool::pending());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    error_of(stack, call).await;
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    assert_eq!(counts(inner.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(counts(outer.drain(MINUTE).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn outer_layer_runs_the_hooks_of_a_call_rejected_in_between() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(ConcurrencyLimitLayer::new(0))
        .layer(inner.clone())
        .service(ScriptedTool::ready());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    error_of(stack, call).await;
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
    assert_eq!(counts(outer.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(counts(inner.drain(MINUTE).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_that_is_off_leaves_the_hooks_to_the_next_outer_one() {
    let outer = CleanupLayer::new();
    let off = CleanupLayer::off().with_wait(MINUTE);
    let stack = outer.layer(off.layer(ScriptedTool::ready()));
    let start = Instant::now();
    let call = call();
    hook(&Events::new(), call.context(), "hook", ms(500));
    assert_eq!(text_of(stack, call).await, "done");
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!(counts(outer.drain(MINUTE).await), (1, 0, 0, 0));
    assert_eq!(counts(off.drain(MINUTE).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn outcome_is_that_of_the_error_from_inside_or_of_the_timeout_outside() {
    async fn outcome<S>(stack: S) -> Vec<Outcome>
    where
        S: Service<ToolCall, Response = toolbooth::ToolOutput, Error = ToolError>,
    {
        let call = call();
        let outcomes = Outcomes::of(call.context());
        error_of(stack, call).await;
        outcomes.all().await
    }
    let (cleanup, timeout) = (CleanupLayer::new(), TimeoutLayer::new(ms(10)));
    let rejects = cleanup.layer(fails(ToolError::rate_limited(ms(1))));
    assert_eq!(outcome(rejects).await, [Outcome::Rejected]);
    let inside = cleanup.layer(timeout.layer(ScriptedTool::pending()));
    assert_eq!(outcome(inside).await, [Outcome::TimedOut]);
    let outside = timeout.layer(cleanup.layer(ScriptedTool::pending()));
    assert_eq!(outcome(outside).await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_a_cleanup_layer_the_outermost_layer_runs_the_hooks() {
    let stack = ServiceBuilder::new()
        .layer(PartialResultLayer::new())
        .layer(TimeoutLayer::new(ms(300)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(ScriptedTool::new(async |call| {
            call.context().emit("half");
            std::future::pending().await
        }));
    let events = Events::new();
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    hook(&events, &context, "hook", ms(500));
    error_of(stack, call).await;
    events.record("error");
    // They run although the context is still alive.
    assert_eq!(outcomes.with_partials().await, [(Outcome::TimedOut, 1)]);
    assert_eq!(entries(&events), [("error", 300), ("hook", 800)]);
    assert!(context.is_cancelled());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_any_layer_dropping_the_last_context_runs_the_hooks_as_cancelled() {
    let tool = service_fn(async |call: ToolCall| Ok::<_, ToolError>(call.context().clone()));
    let call = call();
    let mut outcomes = Outcomes::of(call.context());
    let last = tool.oneshot(call).await.unwrap();
    pass(ms(10)).await;
    assert!(outcomes.is_pending());
    drop(last);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_call_runs_its_hooks() {
    let cleanup = CleanupLayer::new();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut service = cleanup.layer(ScriptedTool::pending());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert!(future.poll().is_pending());
    drop(future);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_and_services_of_one_layer_share_its_counts() {
    let cleanup = CleanupLayer::new();
    let mut one = cleanup.layer(ScriptedTool::ready());
    let mut clone = one.clone();
    let mut other = cleanup.clone().layer(ScriptedTool::ready());
    for service in [&mut one, &mut clone, &mut other] {
        let call = call();
        let outcomes = Outcomes::of(call.context());
        assert_eq!(text(service.call(call).await).await, "done");
        assert_eq!(outcomes.all().await, [Outcome::Completed]);
    }
    assert_eq!(counts(cleanup.clone().drain(MINUTE).await), (3, 0, 0, 0));
    assert_eq!(counts(CleanupLayer::new().report()), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn partial_result_is_in_the_error_and_in_the_hook() {
    let tool = ScriptedTool::new(async |call| {
        call.context().emit("half");
        Err("half way".into())
    });
    let mut stack = CleanupLayer::new().layer(PartialResultLayer::new().layer(tool));
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let failed = error(stack.call(call).await);
    assert_eq!(texts(failed.partial().unwrap().contents()), ["half"]);
    assert_eq!(outcomes.with_partials().await, [(Outcome::Failed, 1)]);
}
