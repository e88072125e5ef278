//! Code that is not ours and runs inside of us: conversions, drops, hooks. It may come back to us, panic, or both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::time::sleep;
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind, MAX_HOOKS, Order,
    Outcome, PartialResultLayer, Quota, RateLimitLayer, Registered, TimeoutLayer, ToolCall,
    ToolError, ToolOutput, tool_fn,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// Registers a hook when it is dropped.
struct RegistersOnDrop(CallContext);

impl Drop for RegistersOnDrop {
    fn drop(&mut self) {
        self.0.on_cleanup(|_| async {});
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_hook_is_dropped_where_it_may_register_another() {
    let call = call();
    let context = call.context().clone();
    for _ in 0..MAX_HOOKS {
        assert_eq!(context.on_cleanup(|_| async {}), Registered::Held);
    }
    let guard = RegistersOnDrop(context.clone());
    let refused = context.on_cleanup(|_| async move { drop(guard) });
    assert_eq!(refused, Registered::Rejected);
}

/// Emits when it is converted, and when its bytes are dropped.
struct Chatty(CallContext);

impl AsRef<[u8]> for Chatty {
    fn as_ref(&self) -> &[u8] {
        b"chatty"
    }
}

impl Drop for Chatty {
    fn drop(&mut self) {
        self.0.emit("dropped");
    }
}

impl From<Chatty> for Content {
    fn from(chatty: Chatty) -> Self {
        chatty.0.emit("converting");
        Self::data("text/plain", bytes::Bytes::from_owner(chatty))
    }
}

async fn kept(
    layer: PartialResultLayer,
    publish: impl Fn(CallContext) + Clone + Send + Sync,
) -> Vec<String> {
    let tool = tool_fn("tool", move |call: CallContext, (): ()| {
        publish(call);
        async { Err::<(), _>(std::io::Error::other("no")) }
    });
    let error = layer
        .layer(tool)
        .oneshot(call())
        .await
        .expect_err("it fails");
    let contents = error.into_partial().expect("it published").into_contents();
    let name = |content: &Content| content.as_text().unwrap_or("bytes").to_owned();
    contents.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn content_may_publish_while_it_is_converted_and_while_it_is_dropped() {
    let emitted = kept(PartialResultLayer::new(), |call| {
        call.emit(Chatty(call.clone()));
    })
    .await;
    assert_eq!(emitted, ["converting", "bytes"]);
    let newest = PartialResultLayer::new()
        .with_max_items(2)
        .with_drop_oldest();
    let emitted = kept(newest, |call| {
        call.emit(Chatty(call.clone()));
        call.emit("last");
        call.emit("very last");
    });
    assert_eq!(emitted.await, ["very last", "dropped"]);
    let snapshots = kept(PartialResultLayer::new(), |call| {
        call.snapshot(Chatty(call.clone()));
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
async fn a_tool_whose_drop_panics_still_ends_its_call() {
    let (limit, cleanup) = (ConcurrencyLimitLayer::new(1), CleanupLayer::new());
    let told: Arc<Mutex<Vec<Outcome>>> = Arc::default();
    let tool = {
        let told = Arc::clone(&told);
        tool_fn("tool", move |call: CallContext, (): ()| {
            let told = Arc::clone(&told);
            call.on_cleanup(|outcome| async move { told.lock().unwrap().push(outcome) });
            async {
                let _bomb = PanicsOnDrop;
                std::future::pending::<Result<(), std::io::Error>>().await
            }
        })
    };
    let mut stack = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(cleanup.clone())
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(tool);
    // Dropped by its caller.
    let mut dropped = Box::pin(stack.call(call()));
    assert!(dropped.as_mut().now_or_never().is_none());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(dropped)));
    assert!(panicked.is_err());
    assert_eq!(limit.available(), 1);
    // And cut by its limit.
    let cut = std::panic::AssertUnwindSafe(stack.call(call()))
        .catch_unwind()
        .await;
    assert!(cut.is_err());
    assert_eq!(limit.available(), 1);
    assert_eq!(cleanup.drain(Duration::from_secs(1)).await.ran, 2);
    assert_eq!(*told.lock().unwrap(), [Outcome::Panicked; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_overruns_and_panics_when_dropped_stops_no_other() {
    let cleanup = CleanupLayer::new().with_hook_limit(Duration::from_millis(100));
    let ran = Arc::new(AtomicUsize::new(0));
    let tool = {
        let ran = Arc::clone(&ran);
        tool_fn("tool", move |call: CallContext, (): ()| {
            let ran = Arc::clone(&ran);
            call.on_cleanup(|_| async move {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            call.on_cleanup(|_| async {
                let _bomb = PanicsOnDrop;
                sleep(Duration::from_secs(60)).await;
            });
            async { Ok::<_, std::io::Error>(()) }
        })
    };
    cleanup.layer(tool).oneshot(call()).await.unwrap();
    let report = cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 1, 0));
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_came_to_its_limit_stops_no_later_hook() {
    let cleanup = CleanupLayer::new();
    let tool = cleanup.layer(tool_fn("tool", async |call: CallContext, (): ()| {
        call.on_cleanup(|_| sleep(Duration::from_millis(50)));
        Ok::<_, std::io::Error>(())
    }));
    tool.clone().oneshot(call()).await.unwrap();
    assert_eq!(cleanup.drain(Duration::from_millis(1)).await.abandoned, 1);
    tool.oneshot(call()).await.unwrap();
    let report = cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!((report.ran, report.abandoned, report.orphaned), (1, 1, 0));
}

/// A stream whose drop panics, cut by the timer task while nobody polls it.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_drop_panics_still_gives_its_permit_back() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = toolbooth::stream_tool_fn("tool", |(): ()| {
        let bomb = PanicsOnDrop;
        futures_util::stream::poll_fn(move |_| {
            let _bomb = &bomb;
            std::task::Poll::<Option<Result<Content, ToolError>>>::Pending
        })
    });
    let stack = TimeoutLayer::new(Duration::from_secs(1)).layer(limit.layer(tool));
    let answer: ToolOutput = stack.oneshot(call()).await.unwrap();
    assert_eq!(limit.available(), 0);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(limit.available(), 1);
    let ended = std::panic::AssertUnwindSafe(answer.collect())
        .catch_unwind()
        .await;
    assert!(matches!(ended, Ok(Err(error)) if error.kind() == ErrorKind::Panicked));
}

/// Asks the layer something when it is dropped.
struct AsksOnDrop(ConcurrencyLimitLayer);

impl Drop for AsksOnDrop {
    fn drop(&mut self) {
        assert_eq!(self.0.available_for("tool"), 1);
    }
}

/// Runs it on a thread of its own: true if that ends.
fn ends(run: impl FnOnce() + Send + 'static) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        run();
        let _ = tell.send(());
    });
    told.recv_timeout(Duration::from_secs(5)).is_ok()
}

#[test]
fn an_order_may_ask_its_limit_when_it_is_dropped() {
    assert!(ends(|| {
        let limit = ConcurrencyLimitLayer::per_tool(1);
        let asks = AsksOnDrop(limit.clone());
        let order = Order::fair_by(move |call| {
            let _ = &asks;
            call.tool().into()
        });
        limit.set_order(order);
        limit.set_order(Order::fifo());
    }));
}

#[test]
fn the_members_of_a_group_may_ask_its_limit() {
    assert!(ends(|| {
        let rate = RateLimitLayer::per_tool(Quota::per_hour(std::num::NonZeroU32::MIN));
        let asked = rate.clone();
        let members = ["a", "b"]
            .into_iter()
            .filter(|tool| asked.remaining_for(tool) > 0);
        let quota = Quota::per_second(std::num::NonZeroU32::MIN);
        assert_eq!(rate.with_group(quota, members).remaining_for("b"), 1);
    }));
}
