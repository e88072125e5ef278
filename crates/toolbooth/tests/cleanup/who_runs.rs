//! Which layer runs the hooks, and with which outcome.

use toolbooth::{
    ConcurrencyLimitLayer, Outcome, PartialResultLayer, TimeoutLayer, ToolCall, ToolError,
    ToolOutput,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn innermost_layer_that_sees_the_end_runs_the_hooks() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(300)))
        .layer(inner.clone())
        .service(Probe::stuck());
    let call = call();
    let outcomes = told(call.context());
    error(stack.oneshot(call).await);
    assert_eq!(outcomes.outcomes().await, [Outcome::TimedOut]);
    assert_eq!(counts(inner.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(counts(outer.drain(LONG).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn outer_layer_runs_the_hooks_of_a_call_that_never_came_to_the_inner_one() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(ConcurrencyLimitLayer::new(0))
        .layer(inner.clone())
        .service(Probe::ready());
    let call = call();
    let outcomes = told(call.context());
    error(stack.oneshot(call).await);
    assert_eq!(outcomes.outcomes().await, [Outcome::Rejected]);
    assert_eq!(counts(outer.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(counts(inner.drain(LONG).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_that_is_off_leaves_the_hooks_to_the_next_further_out() {
    let outer = CleanupLayer::new();
    let stack = outer.layer(CleanupLayer::off().with_wait(LONG).layer(Probe::ready()));
    let diary = Diary::new();
    let call = call();
    diary.hook(call.context(), "hook", ms(500));
    assert_eq!(text(stack.oneshot(call).await).await, "done");
    assert_eq!(diary.start.elapsed(), ms(0));
    assert_eq!(counts(outer.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(counts(CleanupLayer::off().drain(LONG).await), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn outcome_is_what_the_layer_saw() {
    // Outside of what makes the error, and inside of it.
    let failing = |_: ToolCall| async { Err::<ToolOutput, _>(ToolError::rate_limited(ms(1))) };
    let call_ = call();
    let outcomes = told(call_.context());
    error(
        CleanupLayer::new()
            .layer(service_fn(failing))
            .oneshot(call_)
            .await,
    );
    assert_eq!(outcomes.outcomes().await, [Outcome::Rejected]);

    let outside = CleanupLayer::new().layer(TimeoutLayer::new(ms(10)).layer(Probe::stuck()));
    let call_ = call();
    let outcomes = told(call_.context());
    error(outside.oneshot(call_).await);
    assert_eq!(outcomes.outcomes().await, [Outcome::TimedOut]);

    let inside = TimeoutLayer::new(ms(10)).layer(CleanupLayer::new().layer(Probe::stuck()));
    let call_ = call();
    let outcomes = told(call_.context());
    error(inside.oneshot(call_).await);
    assert_eq!(outcomes.outcomes().await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_a_cleanup_layer_the_outermost_layer_runs_them_and_nobody_waits() {
    let stack = ServiceBuilder::new()
        .layer(PartialResultLayer::new())
        .layer(TimeoutLayer::new(ms(300)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(Probe::new(async |call| {
            call.context().emit("half");
            std::future::pending().await
        }));
    let diary = Diary::new();
    let call = call();
    let context = call.context().clone();
    let hook = told(&context);
    diary.hook(&context, "hook", ms(500));
    error(stack.oneshot(call).await);
    diary.write("error");
    // Though the context still lives.
    assert_eq!(hook.ends().await, [(Outcome::TimedOut, 1)]);
    assert_eq!(diary.read(), [("error", 300), ("hook", 800)]);
    assert!(context.is_cancelled());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_any_layer_the_last_handle_runs_them_as_cancelled() {
    let tool = service_fn(async |call: ToolCall| {
        let context = call.context().clone();
        Ok::<_, ToolError>(context)
    });
    let call = call();
    let mut outcomes = told(call.context());
    let last = tool.oneshot(call).await.unwrap();
    pass(ms(10)).await;
    assert!(outcomes.is_held());
    drop(last);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_call_runs_its_hooks() {
    let cleanup = CleanupLayer::new();
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(cleanup.layer(Probe::stuck()).oneshot(call));
    assert!(future.poll().is_pending());
    drop(future);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
    assert_eq!(counts(cleanup.drain(LONG).await), (1, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_and_services_of_one_value_share_the_count_and_a_new_value_has_its_own() {
    let cleanup = CleanupLayer::new();
    let mut one = cleanup.layer(Probe::ready());
    let mut clone = one.clone();
    let mut other = cleanup.clone().layer(Probe::ready());
    for service in [&mut one, &mut clone, &mut other] {
        let call = call();
        let outcomes = told(call.context());
        assert_eq!(text(service.call(call).await).await, "done");
        assert_eq!(outcomes.outcomes().await, [Outcome::Completed]);
    }
    assert_eq!(counts(cleanup.clone().drain(LONG).await), (3, 0, 0, 0));
    assert_eq!(counts(CleanupLayer::new().report()), (0, 0, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn kept_contents_are_in_the_error_as_well() {
    let stack = ServiceBuilder::new()
        .layer(CleanupLayer::new())
        .layer(PartialResultLayer::new())
        .service(Probe::new(async |call| {
            call.context().emit("half");
            Err("half way".into())
        }));
    let call = call();
    let told = told(call.context());
    let failed = error(stack.oneshot(call).await);
    assert_eq!(texts(failed.partial().unwrap().contents()), ["half"]);
    assert_eq!(told.ends().await, [(Outcome::Failed, 1)]);
}
