//! What the types of every layer promise: `Send + Sync + Clone + 'static`, and values that are off.

mod support;

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use support::{Mock, Probe, call, mock, ms, text};
use toolbooth::{
    CallContext, CleanupLayer, Collected, ConcurrencyLimitLayer, ConfigError, Content,
    ContentStream, DrainReport, Partial, PartialResultLayer, PerTool, RateLimitLayer, TimeoutLayer,
    ToolCall, ToolError, ToolOutput, checked, tool_fn,
};
use tower::util::{BoxCloneService, BoxCloneSyncService, BoxService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn rate() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_hour(NonZeroU32::MAX))
}

fn is_value<T: Send + Sync + Clone + Debug + 'static>(_: &T) {}
fn is_service<T: Send + Sync + Clone + 'static>(_: &T) {}
fn is_send<T: Send + 'static>(_: &T) {}

macro_rules! for_each_layer {
    ($check:ident) => {
        $check(TimeoutLayer::new(ms(1_000)));
        $check(ConcurrencyLimitLayer::new(1));
        $check(rate());
        $check(CleanupLayer::new());
        $check(PartialResultLayer::new());
    };
}

#[test]
fn layers_are_values_that_can_be_cloned_printed_and_sent() {
    fn check<L: Send + Sync + Clone + Debug + 'static>(layer: L) {
        is_value(&layer);
        assert!(format!("{layer:?}").contains("Layer"));
    }
    for_each_layer!(check);
}

#[test]
fn services_are_what_their_inner_one_is() {
    fn check<L>(layer: L)
    where
        L: Layer<Mock, Service: Service<ToolCall> + Send + Sync + Clone + 'static>,
    {
        is_service(&mock(&layer).0);
    }
    for_each_layer!(check);

    // Around one that prints, they print.
    fn prints<L: Layer<Mock, Service: Debug>>(layer: L) {
        assert!(format!("{:?}", mock(&layer).0).contains("Mock"));
    }
    for_each_layer!(prints);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn futures_are_send_and_print_though_what_is_inside_does_not() {
    fn check<L>(layer: L)
    where
        L: Layer<Probe, Service: Service<ToolCall, Future: Send + Debug + 'static>>,
    {
        let future = layer.layer(Probe::stuck()).call(call());
        is_send(&future);
        let printed = format!("{future:?}");
        assert!(
            ["ResponseFuture", "LayerFuture"]
                .iter()
                .any(|name| printed.starts_with(name))
        );
    }
    for_each_layer!(check);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stacks_fit_every_box_of_towers() {
    let stack = || {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(1_000)))
            .layer(rate())
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(Probe::ready())
    };
    let sync: BoxCloneSyncService<ToolCall, ToolOutput, ToolError> =
        BoxCloneSyncService::new(stack());
    assert_eq!(text(sync.clone().oneshot(call()).await).await, "done");
    let clone: BoxCloneService<ToolCall, ToolOutput, ToolError> = BoxCloneService::new(stack());
    assert_eq!(text(clone.oneshot(call()).await).await, "done");
    let boxed: BoxService<ToolCall, ToolOutput, ToolError> = BoxService::new(stack());
    assert_eq!(text(boxed.oneshot(call()).await).await, "done");

    // And layers fit around a box.
    let around = TimeoutLayer::new(ms(5)).layer(PartialResultLayer::new().layer(sync));
    assert_eq!(text(around.oneshot(call()).await).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn calls_run_on_other_threads() {
    let stack = TimeoutLayer::new(ms(1_000)).layer(Probe::ready());
    let answer = tokio::spawn(stack.oneshot(call())).await.unwrap();
    assert_eq!(text(answer).await, "done");
}

#[test]
fn what_travels_is_send_and_sync() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<ToolCall>();
    is_shared::<ToolCall<Arc<str>>>();
    is_shared::<CallContext>();
    is_shared::<ToolError>();
    is_shared::<Partial>();
    is_shared::<Content>();
    is_shared::<Collected>();
    is_shared::<PerTool<Duration>>();
    is_shared::<DrainReport>();
    is_shared::<ConfigError>();
    fn is_sent<T: Send + 'static>() {}
    is_sent::<ToolOutput>();
    is_sent::<ContentStream>();
}

#[test]
fn error_is_small_and_boxes_into_towers_and_back() {
    assert!(size_of::<ToolError>() <= 64, "{}", size_of::<ToolError>());
    let boxed: toolbooth::BoxError = ToolError::rate_limited(ms(5)).into();
    assert_eq!(
        boxed.downcast_ref::<ToolError>().unwrap().retry_after(),
        Some(ms(5))
    );
    assert_eq!(ToolError::from(boxed).retry_after(), Some(ms(5)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layers_that_are_off_pass_everything_through() {
    async fn check<L>(layer: L)
    where
        L: Layer<Probe, Service: Service<ToolCall, Response = ToolOutput, Error = ToolError>>,
    {
        let slow = Probe::new(async |_| {
            tokio::time::sleep(Duration::from_secs(1 << 20)).await;
            Ok(ToolOutput::text("done"))
        });
        let mut service = layer.layer(slow);
        // More at once than any limit here would allow.
        let calls: Vec<_> = (0..2_000).map(|_| service.call(call())).collect();
        let start = tokio::time::Instant::now();
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(text(answer).await, "done");
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1 << 20));
    }
    check(TimeoutLayer::new(None)).await;
    check(TimeoutLayer::unlimited()).await;
    check(ConcurrencyLimitLayer::new(None)).await;
    check(RateLimitLayer::new(None)).await;
    check(CleanupLayer::off()).await;
    check(PartialResultLayer::off()).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn off_or_on_is_one_type() {
    for (limit, cut) in [(None, false), (Some(ms(10)), true)] {
        let tool = tool_fn("t", async |_: ()| {
            tokio::time::sleep(ms(20)).await;
            Ok::<_, ToolError>("done")
        });
        let stack = TimeoutLayer::new(limit).layer(ConcurrencyLimitLayer::new(None).layer(tool));
        assert_eq!(stack.oneshot(call()).await.is_err(), cut);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn checked_gives_back_the_stack_that_it_was_given() {
    let stack = checked::<ToolCall, _>(TimeoutLayer::new(ms(5)).layer(Probe::ready()));
    assert_eq!(text(stack.oneshot(call()).await).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn services_give_back_what_is_inside() {
    let probe = Probe::ready();
    let mut timeout = TimeoutLayer::new(ms(5)).layer(probe.view());
    assert_eq!(timeout.get_ref().log(), probe.log());
    timeout.get_mut().set(support::Readiness::Fails);
    assert!(timeout.clone().oneshot(call()).await.is_err());
    timeout.into_inner().set(support::Readiness::Ready);
    let limit = ConcurrencyLimitLayer::new(1).layer(probe);
    assert_eq!(
        text(
            limit
                .into_inner()
                .oneshot(call())
                .await
                .map_err(ToolError::from)
        )
        .await,
        "done"
    );
}
