//! The names of layers, in the errors that they make and in their texts.

mod support;

use std::num::NonZeroU32;

use support::{call, error_of, ms, pass, takes};
use toolbooth::{
    CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer,
    Quota, RateLimitLayer, RetryPolicy, ShutdownLayer, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, tool_fn,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

fn layer_of(error: &ToolError) -> (Option<&str>, Option<&str>) {
    (error.layer(), error.layer_kind())
}

#[test]
fn name_is_the_kind_by_default_and_a_clone_keeps_it() {
    macro_rules! check {
        ($($layer:expr => $kind:literal),* $(,)?) => {$(
            let layer = $layer;
            assert_eq!(layer.name(), $kind);
            let named = layer.clone().with_name("github");
            assert_eq!((layer.name(), named.clone().name()), ($kind, "github"));
        )*};
    }
    check! {
        TimeoutLayer::new(ms(50)) => "timeout",
        ConcurrencyLimitLayer::new(4) => "concurrency",
        ConcurrencyLimitLayer::new(None) => "concurrency",
        RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN)) => "rate",
        CircuitBreakerLayer::new() => "breaker",
        CleanupLayer::new() => "cleanup",
        PartialResultLayer::new().with_max_items(4) => "partial",
        CatchPanicLayer::new() => "catch_panic",
        SpawnLayer::new() => "spawn",
        ShutdownLayer::new() => "shutdown",
        RetryPolicy::new(3) => "retry",
    }
}

/// Case F3. Both reject with the same kind and the same reason.
#[tokio::test]
async fn limit_of_a_tool_and_a_limit_of_all_differ_in_their_errors() {
    for (of_tool, of_all, rejects) in [(0, 4, "search"), (4, 0, "github-global")] {
        let stack = ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(of_all).with_name("github-global"))
            .layer(ConcurrencyLimitLayer::new(of_tool).with_name("search"))
            .service(takes(ms(1)));
        let error = error_of(stack, call()).await;
        assert_eq!(layer_of(&error), (Some(rejects), Some("concurrency")));
        let text = format!("overloaded: the limit is 0, no call can run (by `{rejects}`)");
        assert_eq!(error.to_string(), text);
    }
}

/// A rejection has the limit: in its text, and by itself.
#[tokio::test(start_paused = true)]
async fn rejection_has_the_limit_that_rejected_the_call() {
    let global = ConcurrencyLimitLayer::new(1).with_name("global");
    let stack = global.with_queue_capacity(0).layer(takes(ms(200)));
    let first = tokio::spawn(stack.clone().oneshot(call()));
    pass(ms(0)).await;
    let full = error_of(stack, call()).await;
    assert_eq!(full.limit(), Some("1 at once"));
    let text = "overloaded: the limit is reached, and no call can be queued \
        (by `global`, limit: 1 at once)";
    assert_eq!(full.to_string(), text);
    first.abort();

    let quota = Quota::per_second(NonZeroU32::MIN);
    for (rate, limit) in [
        (RateLimitLayer::new(quota), "a token every 1s, burst of 1"),
        (
            RateLimitLayer::new(quota)
                .with_window(9, ms(60_000))
                .expect("a window"),
            "a token every 1s, burst of 1, and 9 in 60s",
        ),
    ] {
        let stack = rate.reject().layer(takes(ms(1)));
        assert!(stack.clone().oneshot(call()).await.is_ok());
        let limited = error_of(stack, call()).await;
        assert_eq!(limited.limit(), Some(limit));
        assert!(
            limited
                .to_string()
                .ends_with(&format!(" (by `rate`, limit: {limit})"))
        );
        assert_eq!(
            limited.public_message(),
            "too many calls, try again in 999ms"
        );
    }
    let expired = TimeoutLayer::new(ms(50)).layer(takes(ms(200)));
    assert_eq!(error_of(expired, call()).await.limit(), None);
}

/// The timeout reports its limit, and the innermost queue in which the call waited.
#[tokio::test(start_paused = true)]
async fn timeout_names_the_queue_in_which_the_call_waited() {
    for grace in [0, 10] {
        let timeout = TimeoutLayer::new(ms(50)).with_grace(ms(grace));
        let global = ConcurrencyLimitLayer::new(1).with_name("github-global");
        let stack = ServiceBuilder::new()
            .layer(timeout.with_name("outer"))
            .layer(ConcurrencyLimitLayer::new(4))
            .layer(global)
            .service(takes(ms(200)));
        let first = tokio::spawn(error_of(stack.clone(), call()));
        pass(ms(0)).await;
        let waited = error_of(stack, call()).await;
        assert_eq!(layer_of(&waited), (Some("outer"), Some("timeout")));
        assert_eq!(waited.queue(), Some("github-global"));
        assert_eq!(
            waited.to_string(),
            "timed out after 50ms while waiting in the queue of `github-global` \
             (total limit of 50ms of `outer`)"
        );
        let ran = first.await.unwrap();
        assert_eq!((ran.layer(), ran.queue()), (Some("outer"), None));
    }
}

/// A retry stops before a wait that would exceed the whole limit, so that this is about others.
#[cfg(feature = "retry")]
#[tokio::test(start_paused = true)]
async fn timeout_names_the_retry_and_the_attempt_for_which_the_call_waited() {
    use support::ScriptedTool;
    use toolbooth::RetryPolicy;
    use tower::retry::RetryLayer;

    let policy = RetryPolicy::new(3).with_idempotent(true).with_name("again");
    let stack = |tool: ScriptedTool, wait| {
        ServiceBuilder::new()
            .layer(TimeoutLayer::unlimited().with_idle(ms(50)))
            .layer(RetryLayer::new(
                policy.clone().with_backoff(wait, wait).with_seed(1),
            ))
            .layer(ConcurrencyLimitLayer::new(1))
            .service(tool)
    };
    let fails = || ScriptedTool::new(async |_| Err("down".into()));
    let waited = error_of(stack(fails(), ms(60_000)), call()).await;
    assert_eq!((waited.queue(), waited.started()), (None, true));
    assert_eq!(
        waited.to_string(),
        "timed out after 50ms while waiting for attempt 2 of `again` \
         (idle limit of 50ms of `timeout`)"
    );
    // Not after the wait.
    let second_hangs = ScriptedTool::new(async |call| match call.context().attempt() {
        1 => Err("down".into()),
        _ => std::future::pending().await,
    });
    let ran = error_of(stack(second_hangs, ms(20)), call()).await;
    assert!(
        ran.to_string()
            .ends_with("ms (idle limit of 50ms of `timeout`)"),
        "{ran}"
    );
    // The timeout of another crate.
    let foreign = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1).with_name("outer"))
        .layer(tower::timeout::TimeoutLayer::new(ms(50)))
        .service(stack(fails(), ms(60_000)));
    let waited = error_of(foreign, call()).await;
    let text = "timed out after 50ms while waiting for attempt 2 of `again`";
    assert!(waited.to_string().starts_with(text), "{waited}");
}

/// Without a timeout layer the queue enforces the deadline.
#[tokio::test(start_paused = true)]
async fn deadline_in_a_queue_is_enforced_by_the_limit() {
    let limit = ConcurrencyLimitLayer::new(1).with_name("disk");
    let stack = limit.layer(takes(ms(200)));
    let first = tokio::spawn(stack.clone().oneshot(call()));
    pass(ms(0)).await;
    let waits = call().with_deadline(tokio::time::Instant::now() + ms(50));
    let waited = error_of(stack, waits).await;
    assert_eq!(layer_of(&waited), (Some("disk"), Some("concurrency")));
    assert_eq!((waited.queue(), waited.started()), (Some("disk"), false));
    first.await.unwrap().unwrap();
}

/// An attempt that waited does not mark a later one, which ran.
#[tokio::test(start_paused = true)]
async fn timeout_of_a_later_attempt_that_ran_names_no_queue() {
    let limit = ConcurrencyLimitLayer::new(1);
    let busy = limit.layer(takes(ms(60)));
    let busy = tokio::spawn(busy.oneshot(call()));
    pass(ms(0)).await;
    let policy = RetryPolicy::new(2).with_backoff(ms(0), ms(0));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(90)).with_name("total"))
        .retry(policy)
        .layer(TimeoutLayer::new(ms(50)).with_name("attempt"))
        .layer(limit)
        .service(takes(ms(200)));
    let error = error_of(stack, call()).await;
    busy.await.unwrap().unwrap();
    assert_eq!((error.layer(), error.queue()), (Some("total"), None));
    assert!(error.started());
}

#[tokio::test(start_paused = true)]
async fn rejections_and_panics_name_the_layer_that_made_them() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN)).reject();
    let rate = rate.with_name("hourly").layer(takes(ms(1)));
    rate.clone().oneshot(call()).await.unwrap();
    let error = error_of(rate, call()).await;
    assert_eq!(layer_of(&error), (Some("hourly"), Some("rate")));

    let breaker = CircuitBreakerLayer::new().with_name("api");
    breaker.trip();
    let error = error_of(breaker.layer(takes(ms(1))), call()).await;
    assert_eq!(layer_of(&error), (Some("api"), Some("breaker")));
    assert_eq!(
        error.to_string(),
        "the circuit is open, retry after 30s (by `api`)"
    );

    let cleanup = CleanupLayer::new().with_name("sessions");
    cleanup.close();
    let error = error_of(cleanup.layer(takes(ms(1))), call()).await;
    assert_eq!(layer_of(&error), (Some("sessions"), Some("cleanup")));

    async fn panics(_: ()) -> Result<(), ToolError> {
        panic!("secret")
    }
    let tool = tool_fn("tool", panics);
    let call = || ToolCall::new("tool", serde_json::json!(null));
    let caught = CatchPanicLayer::new().with_name("edge").layer(tool.clone());
    let caught = SpawnLayer::new().layer(caught);
    let error = error_of(caught, call()).await;
    assert_eq!(layer_of(&error), (Some("edge"), Some("catch_panic")));
    let error = error_of(SpawnLayer::new().with_name("task").layer(tool), call()).await;
    assert_eq!(layer_of(&error), (Some("task"), Some("spawn")));
}

/// Errors of a tool, and of another crate's layer, were made by no layer of this crate.
#[tokio::test(start_paused = true)]
async fn errors_of_the_tool_and_of_foreign_layers_have_no_layer() {
    let foreign = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(500)))
        .timeout(ms(20))
        .service(takes(ms(60)));
    assert_eq!(layer_of(&error_of(foreign, call()).await), (None, None));
    let tool = support::fails(ToolError::rate_limited(ms(9)));
    let tool = TimeoutLayer::new(ms(500)).layer(tool);
    assert_eq!(layer_of(&error_of(tool, call()).await), (None, None));
}
