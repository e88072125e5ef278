//! What the types of all layers promise: trait bounds, values that are off, access to the inner.
//!
//! Each layer's own tests assert the bounds of its services and futures (`every_layer!`).

mod support;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use support::{Readiness, ScriptedTool, call, ms, takes, text_of};
use toolbooth::{
    BreakerPolicy, CallContext, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, Collected,
    ConcurrencyLimitLayer, ConfigError, Content, ContentStream, DrainReport, Partial,
    PartialResultLayer, PerTool, RateLimitLayer, ShutdownLayer, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput, checked,
};
use tower::util::{BoxCloneService, BoxCloneSyncService, BoxService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stacks_fit_every_box_of_tower() {
    let stack = || {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(1_000)))
            .layer(RateLimitLayer::new(Quota::per_hour(NonZeroU32::MAX)))
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(ScriptedTool::ready())
    };
    let sync = BoxCloneSyncService::<ToolCall, ToolOutput, ToolError>::new(stack());
    assert_eq!(text_of(sync.clone(), call()).await, "done");
    let clone = BoxCloneService::<ToolCall, ToolOutput, ToolError>::new(stack());
    assert_eq!(text_of(clone, call()).await, "done");
    let boxed = BoxService::<ToolCall, ToolOutput, ToolError>::new(stack());
    assert_eq!(text_of(boxed, call()).await, "done");

    // Layers wrap a box, too.
    let around = TimeoutLayer::new(ms(5)).layer(PartialResultLayer::new().layer(sync));
    assert_eq!(text_of(around, call()).await, "done");
}

#[test]
fn types_of_a_call_are_send_and_sync() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<ToolCall>();
    is_shared::<ToolCall<Arc<str>>>();
    is_shared::<CallContext>();
    is_shared::<ToolError>();
    is_shared::<Partial>();
    is_shared::<Content>();
    is_shared::<Collected>();
    is_shared::<PerTool<Duration>>();
    is_shared::<BreakerPolicy>();
    is_shared::<DrainReport>();
    is_shared::<ConfigError>();
    fn is_sent<T: Send + 'static>() {}
    is_sent::<ToolOutput>();
    is_sent::<ContentStream>();
}

#[test]
fn error_is_small_and_converts_to_a_boxed_error_and_back() {
    assert!(size_of::<ToolError>() <= 64, "{}", size_of::<ToolError>());
    let boxed: toolbooth::BoxError = ToolError::rate_limited(ms(5)).into();
    let found = boxed.downcast_ref::<ToolError>();
    assert_eq!(found.unwrap().retry_after(), Some(ms(5)));
    assert_eq!(ToolError::from(boxed).retry_after(), Some(ms(5)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layers_that_are_off_limit_nothing() {
    const YEARS: Duration = Duration::from_secs(1 << 28);
    let off = ServiceBuilder::new()
        .layer(TimeoutLayer::new(None))
        .layer(TimeoutLayer::unlimited())
        .layer(RateLimitLayer::new(None))
        .layer(ConcurrencyLimitLayer::new(None))
        .layer(CircuitBreakerLayer::off())
        .layer(CatchPanicLayer::off())
        .layer(SpawnLayer::off())
        .layer(ShutdownLayer::off())
        .layer(CleanupLayer::off())
        .layer(PartialResultLayer::off())
        .service(takes(YEARS));
    // More calls than any queue holds by default.
    let calls = support::call_all(off, (0..2_000).map(|_| call())).await;
    assert!(calls.iter().all(|call| call.is_ok() && call.at == YEARS));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_has_one_type_on_or_off() {
    for (limit, expires) in [(None, false), (Some(ms(10)), true)] {
        let stack = TimeoutLayer::new(limit).layer(takes(ms(20)));
        assert_eq!(stack.oneshot(call()).await.is_err(), expires);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn checked_returns_the_stack_unchanged() {
    let stack = checked::<ToolCall, _>(TimeoutLayer::new(ms(5)).layer(ScriptedTool::ready()));
    assert_eq!(text_of(stack, call()).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn services_give_access_to_their_inner_service() {
    macro_rules! check {
        ($($layer:expr),+ $(,)?) => {$(
            let tool = ScriptedTool::ready();
            let mut service = $layer.layer(tool.handle());
            assert_eq!(service.get_ref().log(), tool.log());
            service.get_mut().set_readiness(Readiness::Fails);
            assert!(service.call(call()).await.is_err());
            let inner = service.into_inner();
            inner.set_readiness(Readiness::Ready);
            assert!(inner.oneshot(call()).await.is_ok());
            assert_eq!(tool.log().calls.len(), 1);
        )+};
    }
    check!(
        TimeoutLayer::new(ms(5)),
        RateLimitLayer::new(Quota::per_hour(NonZeroU32::MAX)),
        ConcurrencyLimitLayer::new(1),
        CircuitBreakerLayer::new(),
        CatchPanicLayer::new(),
        SpawnLayer::new(),
        CleanupLayer::new(),
        PartialResultLayer::new(),
    );
}
