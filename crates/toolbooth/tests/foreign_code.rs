//! User code inside the library: conversions, drops, hooks and closures.
//!
//! It may call back into the library, and may panic.

mod support;

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, stream};
use support::{Outcomes, Probe, ScriptedTool, call, error_of, ms, panic_text, streaming, streams};
use toolbooth::policy::Policies;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind, MAX_HOOKS,
    Order, Outcome, PartialResultLayer, Quota, RateLimitLayer, Registered, TimeoutLayer,
    ToolOutput, Toolbox, tool_fn,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// Registers a hook when it is dropped.
struct RegistersOnDrop(CallContext);

impl Drop for RegistersOnDrop {
    fn drop(&mut self) {
        self.0.on_cleanup(|_| async {});
    }
}

#[tokio::test(start_paused = true)]
async fn drop_of_a_rejected_hook_may_register_another() {
    let call = call();
    let context = call.context().clone();
    for _ in 0..MAX_HOOKS {
        assert_eq!(context.on_cleanup(|_| async {}), Registered::Held);
    }
    let guard = RegistersOnDrop(context.clone());
    let registered = context.on_cleanup(|_| async move { drop(guard) });
    assert_eq!(registered, Registered::Rejected);
}

/// Emits when it is converted, and when its bytes are dropped.
struct Emits(CallContext);

impl AsRef<[u8]> for Emits {
    fn as_ref(&self) -> &[u8] {
        b"bytes"
    }
}

impl Drop for Emits {
    fn drop(&mut self) {
        self.0.emit("dropped");
    }
}

impl From<Emits> for Content {
    fn from(emits: Emits) -> Self {
        emits.0.emit("converting");
        Self::data("text/plain", bytes::Bytes::from_owner(emits))
    }
}

/// The texts kept of a tool that publishes and fails, with `bytes` for other contents.
async fn kept(layer: PartialResultLayer, publish: fn(CallContext)) -> Vec<String> {
    let tool = ScriptedTool::new(move |call| {
        publish(call.context().clone());
        std::future::ready(Err("no".into()))
    });
    let error = error_of(layer.layer(tool), call()).await;
    let contents = error.into_partial().expect("it published").into_contents();
    let name = |content: &Content| content.as_text().unwrap_or("bytes").to_owned();
    contents.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn content_may_emit_while_it_is_converted_and_dropped() {
    let emitted = kept(PartialResultLayer::new(), |call| {
        call.emit(Emits(call.clone()));
    });
    assert_eq!(emitted.await, ["converting", "bytes"]);
    let newest = PartialResultLayer::new()
        .with_max_items(2)
        .with_drop_oldest();
    let emitted = kept(newest, |call| {
        call.emit(Emits(call.clone()));
        call.emit("last");
        call.emit("very last");
    });
    assert_eq!(emitted.await, ["very last", "dropped"]);
    let snapshots = kept(PartialResultLayer::new(), |call| {
        call.snapshot(Emits(call.clone()));
        call.snapshot("plain");
    });
    assert_eq!(snapshots.await, ["converting", "dropped"]);
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("on drop"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tool_whose_drop_panics_ends_its_call() {
    let (limit, cleanup) = (ConcurrencyLimitLayer::new(1), CleanupLayer::new());
    let tool = ScriptedTool::new(async |_| {
        let _panics = PanicsOnDrop;
        std::future::pending().await
    });
    let mut stack = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(cleanup.clone())
        .layer(TimeoutLayer::new(ms(1_000)))
        .service(tool);
    // Dropped by its caller.
    let dropped = call();
    let outcomes = Outcomes::of(dropped.context());
    let mut dropped = Box::pin(stack.call(dropped));
    assert!(dropped.as_mut().now_or_never().is_none());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(dropped)));
    assert_eq!((panic_text(panic), limit.available()), ("on drop", 1));
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    // Expired.
    let expired = call();
    let outcomes = Outcomes::of(expired.context());
    let panic = AssertUnwindSafe(stack.call(expired)).catch_unwind().await;
    assert_eq!((panic_text(panic), limit.available()), ("on drop", 1));
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    assert_eq!(cleanup.drain(ms(1_000)).await.ran, 2);
}

#[tokio::test(start_paused = true)]
async fn overrunning_hook_that_panics_when_dropped_stops_no_other() {
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let call = call();
    let outcomes = Outcomes::of(call.context());
    call.context().on_cleanup(|_| async {
        let _panics = PanicsOnDrop;
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    cleanup
        .layer(ScriptedTool::ready())
        .oneshot(call)
        .await
        .unwrap();
    let report = cleanup.drain(ms(1_000)).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 1, 0));
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

/// The task that expires the stream drops it while no consumer polls.
#[tokio::test(start_paused = true)]
async fn stream_whose_drop_panics_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (tool, _) = streams(|probe: &Probe| {
        let panics = PanicsOnDrop;
        streaming(
            probe,
            stream::poll_fn(move |_| {
                let _panics = &panics;
                std::task::Poll::<Option<Result<Content, std::io::Error>>>::Pending
            }),
        )
    });
    let stack = TimeoutLayer::new(ms(1_000)).layer(limit.layer(tool));
    let output: ToolOutput = stack.oneshot(call()).await.unwrap();
    assert_eq!(limit.available(), 0);
    tokio::time::sleep(ms(2_000)).await;
    assert_eq!(limit.available(), 1);
    let panicked = output.collect().await.unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
}

// === closures given to layers

/// A panic in a closure propagates, is the outcome of its call, and leaves the limit usable.
macro_rules! assert_panic_propagates {
    ($layer:expr, $text:expr) => {{
        let layer = $layer;
        let mut service = layer.layer(ScriptedTool::pending());
        // A running call: the closures of a queue see the next one.
        let running = service.call(call());
        let panicking = call().with_tenant("panics");
        let outcomes = Outcomes::of(panicking.context());
        let call = AssertUnwindSafe(async { service.call(panicking).await });
        assert_eq!(panic_text(call.catch_unwind().await), $text);
        assert_eq!(outcomes.all().await, [Outcome::Panicked]);
        assert_eq!(layer.queued(), 0);
        drop(running);
        let next = layer
            .layer(ScriptedTool::ready())
            .oneshot(call_of_b())
            .await;
        assert!(next.is_ok());
    }};
}

fn call_of_b() -> toolbooth::ToolCall {
    call().with_tenant("b")
}

fn panics_for(context: &CallContext, text: &'static str) {
    if context.tenant() == Some("panics") {
        std::panic::resume_unwind(Box::new(text));
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_key_function_propagates() {
    let key = |context: &CallContext| {
        panics_for(context, "in the key");
        context.tool().into()
    };
    assert_panic_propagates!(ConcurrencyLimitLayer::by(1, key), "in the key");
    let hourly = Quota::per_hour(NonZeroU32::new(2).unwrap());
    assert_panic_propagates!(RateLimitLayer::by(hourly, key), "in the key");
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_cost_function_propagates() {
    let limit = ConcurrencyLimitLayer::new(1).with_cost(|context| {
        panics_for(context, "in the cost");
        1
    });
    assert_panic_propagates!(limit, "in the cost");
    let hourly = Quota::per_hour(NonZeroU32::new(2).unwrap());
    let rate = RateLimitLayer::new(hourly).with_cost(|context| {
        panics_for(context, "in the cost");
        1
    });
    assert_panic_propagates!(rate, "in the cost");
}

#[tokio::test(start_paused = true)]
async fn panic_in_an_order_propagates() {
    let fair = Order::fair_by(|context| {
        panics_for(context, "in the order");
        context.tool().into()
    });
    let limit = ConcurrencyLimitLayer::new(1).with_order(fair);
    assert_panic_propagates!(limit, "in the order");
}

/// Calls its layer when it is dropped.
struct ReadsOnDrop(ConcurrencyLimitLayer);

impl Drop for ReadsOnDrop {
    fn drop(&mut self) {
        assert_eq!(self.0.available_for("tool"), 1);
    }
}

/// Runs `f` on its own thread, and fails if it deadlocks.
fn assert_ends(f: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        f();
        let _ = sender.send(());
    });
    assert!(receiver.recv_timeout(Duration::from_secs(5)).is_ok());
}

#[test]
fn drop_of_an_order_may_call_its_limit() {
    assert_ends(|| {
        let limit = ConcurrencyLimitLayer::per_tool(1);
        let reads = ReadsOnDrop(limit.clone());
        let order = Order::fair_by(move |call| {
            let _reads = &reads;
            call.tool().into()
        });
        limit.set_order(order);
        limit.set_order(Order::fifo());
    });
}

#[test]
fn members_of_a_group_may_call_its_limit() {
    assert_ends(|| {
        let rate = RateLimitLayer::per_tool(Quota::per_hour(NonZeroU32::MIN));
        let read = rate.clone();
        let members = ["a", "b"].into_iter();
        let members = members.filter(|tool| read.remaining_for(tool) > 0);
        let quota = Quota::per_second(NonZeroU32::MIN);
        assert_eq!(rate.with_group(quota, members).remaining_for("b"), 1);
    });
}

/// Changes its toolbox when it is dropped.
struct RemovesOnDrop(Toolbox);

impl Drop for RemovesOnDrop {
    fn drop(&mut self) {
        self.0.remove("other");
    }
}

#[test]
fn drop_of_a_tool_may_change_its_toolbox() {
    let policies = || Policies::from_toml("default.concurrency = 1").unwrap();
    for policies in [None, Some(policies())] {
        assert_ends(|| {
            let builder = Toolbox::builder().tool("a", ScriptedTool::ready());
            let toolbox = match policies {
                Some(policies) => builder.policies(policies),
                None => builder,
            };
            let toolbox = toolbox.build().unwrap();
            let tool = || {
                let removes = Arc::new(RemovesOnDrop(toolbox.clone()));
                tool_fn("tool", move |_: ()| {
                    let _removes = &removes;
                    async { Ok::<_, BoxError>("text") }
                })
            };
            // Of a tool that is rejected, replaced or removed.
            assert!(toolbox.insert("a", tool()).is_err());
            assert!(toolbox.replace("b", tool()).is_err());
            assert!(toolbox.insert("", tool()).is_err());
            toolbox.insert("b", tool()).unwrap();
            toolbox.replace("b", tool()).unwrap();
            toolbox.apply(Policies::new()).unwrap();
            assert!(toolbox.remove("b").is_some());
        });
    }
}
