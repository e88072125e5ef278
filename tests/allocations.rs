//! Allocations of a call, and what the fast path does not need.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use governor::Quota;
use serde_json::Value;
use tokio::time::Instant;
use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, EventsLayer,
    PartialResultLayer, PerTool, RateLimitLayer, ShutdownLayer, TimeoutLayer, ToolCall, ToolError,
    ToolOutput, ToolRequest, Toolbox,
};
use tower::{Layer, Service, ServiceBuilder, service_fn};

/// A tool that completes at the first poll, with a future of 16 bytes, for any request.
#[derive(Debug, Default)]
struct Tool {
    clones: Arc<AtomicUsize>,
}

impl Clone for Tool {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self {
            clones: Arc::clone(&self.clones),
        }
    }
}

#[derive(Debug)]
struct Sixteen([u64; 2]);

impl Future for Sixteen {
    type Output = Result<String, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(format!("done {}", self.0[0])))
    }
}

impl<R> Service<R> for Tool {
    type Response = String;
    type Error = Infallible;
    type Future = Sixteen;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Sixteen {
        Sixteen([42, 0])
    }
}

fn quota() -> Quota {
    Quota::per_second(NonZeroU32::new(1_000_000).expect("not 0"))
}

/// All five layers around `tool`.
macro_rules! five {
    ($tool:expr) => {
        TimeoutLayer::new(Duration::from_secs(5)).layer(
            ConcurrencyLimitLayer::new(100).layer(
                RateLimitLayer::new(quota())
                    .layer(CleanupLayer::new().layer(PartialResultLayer::new().layer($tool))),
            ),
        )
    };
}

/// Makes a call that completes at the first poll, without a runtime and so without a timer.
fn complete<R, S: Service<R>>(service: &mut S, request: R) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let call = pin!(service.call(request));
    match call.poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the tool is ready"),
    }
}

/// The call's context, whatever the caller set of id, tenant, deadline and priority. The thread
/// keeps it for its next call.
#[test]
fn five_layers_cost_one_allocation_and_then_none() {
    let mut bare = Tool::default();
    let mut stack = five!(Tool::default());
    let bare = measure(|| {
        let result = complete(&mut bare, ());
        assert_eq!(result.ok().as_deref(), Some("done 42"));
    });
    let mut count = |call: fn() -> ToolCall| {
        let counted = measure(|| {
            let result = complete(&mut stack, call());
            assert_eq!(result.ok().as_deref(), Some("done 42"));
        });
        (
            counted.count_total - bare.count_total,
            counted.count_current,
        )
    };
    let plain = || ToolCall::new("tool", Value::Null);
    let known = || ToolCall::new("tool", Value::Null).with_id("call_8fj2");
    let full = || {
        ToolCall::new("tool", Value::Null)
            .with_id("call_8fj2")
            .with_tenant("acme")
            .with_deadline(Instant::now() + Duration::from_secs(60))
            .with_priority(1)
            .with_idempotent(true)
    };
    let counts = [plain, known, full, plain].map(&mut count);
    assert_eq!(counts, [(1, 1), (0, 0), (0, 0), (0, 0)]);
}

/// A buffered and a streaming response.
#[test]
fn events_layer_without_a_sink_costs_no_allocation() {
    let streams = service_fn(|_: ToolCall| {
        let items = futures_util::stream::iter([Ok::<_, ToolError>("a".into())]);
        ready(Ok::<_, ToolError>(ToolOutput::stream(items)))
    });
    let mut bare = (
        five!(Tool::default()),
        TimeoutLayer::unlimited().layer(streams),
    );
    let off = EventsLayer::off();
    let mut observed = (off.layer(bare.0.clone()), off.layer(bare.1.clone()));
    let call = || ToolCall::new("tool", Value::Null);
    let counts = [
        measure(|| drop(complete(&mut bare.0, call()))),
        measure(|| drop(complete(&mut bare.0, call()))),
        measure(|| drop(complete(&mut observed.0, call()))),
        measure(|| drop(complete(&mut bare.1, call()))),
        measure(|| drop(complete(&mut observed.1, call()))),
    ];
    let [_, bare, observed, streamed, observed_stream] = counts.map(|count| count.count_total);
    assert_eq!((observed, observed_stream), (bare, streamed));
}

/// The future of the tool is allocated, and once more that of a layer for all tools, which may be
/// several in one.
#[test]
fn toolbox_costs_one_allocation_and_a_layer_for_all_tools_another() {
    let tool = service_fn(|_: ToolCall| ready(Ok::<_, ToolError>(ToolOutput::text("done"))));
    let timeout = TimeoutLayer::new(Duration::from_secs(60));
    let two = ServiceBuilder::new()
        .layer(timeout.clone())
        .layer(ConcurrencyLimitLayer::new(4));
    let builder = || Toolbox::builder().tool("tool", tool);
    let mut plain = builder().build().unwrap();
    let mut layered = builder().layer(two).build().unwrap();
    let count = |service: &mut dyn FnMut()| {
        service();
        measure(service).count_total
    };
    let call = || ToolCall::new("tool", Value::Null);
    let mut bare = timeout.layer(tool);
    let bare = count(&mut || assert!(complete(&mut bare, call()).is_ok()));
    let plain = count(&mut || assert!(complete(&mut plain, call()).is_ok()));
    let layered = count(&mut || assert!(complete(&mut layered, call()).is_ok()));
    assert_eq!((plain - bare, layered - bare), (1, 2));
}

#[test]
fn closed_breaker_costs_no_allocation() {
    let rates = BreakerPolicy::new()
        .with_failure_rate(0.5, 100)
        .and_then(|policy| {
            policy.with_slow_calls(Duration::from_secs(60), 0.5, Duration::from_secs(10))
        })
        .unwrap();
    for policy in [BreakerPolicy::new(), rates] {
        let mut stack = CircuitBreakerLayer::with_policy(policy).layer(five!(Tool::default()));
        let call = || ToolCall::new("tool", Value::Null);
        assert!(complete(&mut stack, call()).is_ok());
        let ours = measure(|| assert!(complete(&mut stack, call()).is_ok()));
        // The text of the response.
        assert_eq!((ours.count_total, ours.count_current), (1, 0));
    }
}

/// Calls that register a hook, emit and time out, after a warm-up of limits and runtime.
#[test]
fn thousand_timeouts_leak_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let cleanup = CleanupLayer::new();
    let second = Duration::from_secs(1);
    let hangs = service_fn(async |call: ToolCall| {
        call.context().on_cleanup(|_| async {});
        call.context().emit("begun");
        call.context().progress(1, 2, "half");
        std::future::pending::<Result<String, Infallible>>().await
    });
    let mut stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(second).with_idle(second))
        .layer(RateLimitLayer::new(quota()))
        .layer(ConcurrencyLimitLayer::new(100))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(hangs);
    let mut round = || {
        runtime.block_on(async {
            for _ in 0..1_000 {
                let error = stack.call(ToolCall::new("tool", Value::Null)).await;
                assert!(error.unwrap_err().partial().is_some());
            }
            cleanup.drain(second).await;
        });
    };
    round();
    let grown = measure(&mut round);
    assert_eq!((grown.count_current, grown.bytes_current), (0, 0));
    assert_eq!(cleanup.report().ran, 2_000);
}

#[test]
fn idle_limit_costs_four_allocations_and_a_grace_one() {
    let mut plain = TimeoutLayer::unlimited().layer(Tool::default());
    let mut of_layer = |layer: TimeoutLayer| {
        let mut stack = layer.layer(Tool::default());
        // Leaves a context to the thread.
        complete(&mut plain, ToolCall::new("tool", Value::Null)).ok();
        let counted = measure(|| {
            complete(&mut stack, ToolCall::new("tool", Value::Null)).ok();
        });
        counted.count_total
    };
    let second = Duration::from_secs(1);
    let plain = of_layer(TimeoutLayer::new(second));
    let idle = TimeoutLayer::unlimited().with_idle(second);
    assert_eq!(of_layer(idle.clone()), plain + 4);
    assert_eq!(of_layer(idle.with_first_item(second)), plain + 4);
    let grace = TimeoutLayer::new(second).with_grace(second);
    assert_eq!(of_layer(grace), plain + 1);
    // An idle limit of other tools costs nothing.
    let others = PerTool::none().with("other", second);
    let others = TimeoutLayer::new(second).with_idle(others);
    assert_eq!(of_layer(others), plain);
}

#[test]
fn beat_allocates_nothing() {
    let call = ToolCall::new("tool", Value::Null);
    let context = call.context().clone();
    let silent = measure(|| context.heartbeat());
    let mut stack = TimeoutLayer::unlimited()
        .with_idle(Duration::from_secs(1))
        .layer(Tool::default());
    let running = stack.call(call);
    let heard = measure(|| (0..1_000).for_each(|_| context.heartbeat()));
    drop(running);
    assert_eq!((silent.count_total, heard.count_total), (0, 0));
}

/// A partial-result layer and a reader share each item. Their queues have grown before.
#[test]
fn item_for_a_reader_of_updates_costs_one_allocation() {
    let emit = |is_read: bool| {
        let call = ToolCall::new("tool", Value::Null);
        let context = call.context().clone();
        let mut updates = is_read.then(|| call.updates());
        let mut stack = PartialResultLayer::new()
            .with_max_items(100)
            .with_drop_oldest()
            .layer(Tool::default());
        let running = stack.call(call);
        let mut emit = || {
            for _ in 0..1_000 {
                // An empty text allocates nothing itself.
                context.emit(String::new());
                if let Some(updates) = &mut updates {
                    assert!(updates.try_recv().is_some());
                }
            }
        };
        emit();
        let emitted = measure(emit);
        drop(running);
        emitted.count_total
    };
    let (unread, read) = (emit(false), emit(true));
    assert_eq!(read - unread, 1_000);
}

#[test]
fn fast_path_needs_no_timer_and_clones_no_service() {
    let tool = Tool::default();
    let clones = Arc::clone(&tool.clones);
    let mut stack = five!(tool);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..100 {
            stack
                .call(ToolCall::new("tool", Value::Null))
                .await
                .unwrap();
        }
    });
    assert_eq!(clones.load(Ordering::Relaxed), 0);
}

#[test]
fn future_of_five_layers_is_small() {
    fn size<R: ToolRequest, S: Service<R>>(_: &S) -> usize {
        size_of::<S::Future>()
    }
    assert_eq!(size_of::<Sixteen>(), 16);
    let stack = five!(Tool::default());
    let size = size::<ToolCall, _>(&stack);
    assert!(size <= 512, "{size} bytes");
}

#[test]
fn error_is_small() {
    assert!(
        size_of::<ToolError>() <= 64,
        "{} bytes",
        size_of::<ToolError>()
    );
}

#[test]
fn arguments_are_copied_at_most_once() {
    let moved = measure(|| {
        let (_context, args) = ToolCall::new("tool", [0_u8; 64]).into_parts();
        assert_eq!(args, [0; 64]);
    });
    assert_eq!(moved.count_total, 1);
    let call = ToolCall::new("tool", [0_u8; 64]);
    assert_eq!(measure(|| assert_eq!(call.args(), &[0; 64])).count_total, 1);
    assert_eq!(measure(|| assert_eq!(call.args(), &[0; 64])).count_total, 0);
    // A clone is another attempt that shares the arguments.
    assert_eq!(measure(|| drop(call.clone())).count_total, 1);
}

/// Polls once and returns whether the future is ready.
fn poll<F: Future>(future: &mut Pin<Box<F>>) -> bool {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[test]
fn a_queue_allocates_for_its_first_waiters() {
    let limit = ConcurrencyLimitLayer::new(1);
    let mut tool = limit.layer(service_fn(|call: ToolCall<u8>| {
        never_or(call.into_parts().1)
    }));
    // A node of the queue's map; later waiters reuse it.
    for nodes in [1, 0] {
        let mut first = Box::pin(tool.call(ToolCall::new("tool", 0)));
        assert!(!poll(&mut first));
        let mut second = Box::pin(tool.call(ToolCall::new("tool", 1)));
        let waits = measure(|| assert!(!poll(&mut second)));
        let mut third = Box::pin(tool.call(ToolCall::new("tool", 1)));
        let waits_too = measure(|| assert!(!poll(&mut third)));
        assert_eq!((waits.count_total, waits_too.count_total), (nodes, 0));
        let granted = measure(|| drop(first));
        let runs = measure(|| assert!(poll(&mut second) && poll(&mut third)));
        assert_eq!((granted.count_total, runs.count_total), (0, 0));
    }
}

type Never = futures_util::future::Either<
    std::future::Pending<Result<(), Infallible>>,
    Ready<Result<(), Infallible>>,
>;

fn never_or(now: u8) -> Never {
    match now {
        0 => Never::Left(std::future::pending()),
        _ => Never::Right(ready(Ok(()))),
    }
}

/// A call that is ready at once costs nothing more than its context.
#[test]
fn shutdown_layer_costs_no_allocation() {
    let mut bare = TimeoutLayer::unlimited().layer(Tool::default());
    let mut stack = ShutdownLayer::new().layer(bare.clone());
    let call = || ToolCall::new("tool", Value::Null);
    let [_, bare] = [(); 2].map(|()| measure(|| drop(complete(&mut bare, call()))));
    let stack = measure(|| drop(complete(&mut stack, call())));
    assert_eq!(stack.count_total, bare.count_total);
    assert_eq!(stack.count_current, 0);
}

/// A tool that yields once.
#[derive(Debug, Default)]
struct Once(bool);

impl Future for Once {
    type Output = Result<(), Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

/// The context is the only one, since the timer is part of the future. The thread keeps it.
#[test]
fn pending_tool_costs_one_allocation_and_then_none() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let tool = || service_fn(|_: ToolCall| Once::default());
    let mut stack = five!(tool());
    let limit = ConcurrencyLimitLayer::new(100);
    let mut unlimited = TimeoutLayer::unlimited().layer(limit.layer(tool()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut once = |call: Pin<&mut dyn Future<Output = Result<(), ToolError>>>| {
        let mut call = call;
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert!(call.as_mut().poll(&mut cx).is_ready());
    };
    let call = || ToolCall::new("tool", Value::Null);
    let first = measure(|| once(pin!(stack.call(call()))));
    let timed = measure(|| once(pin!(stack.call(call()))));
    let untimed = measure(|| once(pin!(unlimited.call(call()))));
    let counts = [first, timed, untimed].map(|counted| counted.count_total);
    assert_eq!(counts, [1, 0, 0]);
}

#[test]
fn waiter_for_a_token_costs_no_allocation() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let rate = RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN));
    let mut tool = rate.layer(Tool::default());
    runtime.block_on(async {
        let mut first = Box::pin(tool.call(ToolCall::new("tool", Value::Null)));
        assert!(poll(&mut first));
        // The first waiter starts the task that drives the queue.
        let mut second = Box::pin(tool.call(ToolCall::new("tool", Value::Null)));
        assert!(!poll(&mut second));
        let mut third = Box::pin(tool.call(ToolCall::new("tool", Value::Null)));
        let waits = measure(|| assert!(!poll(&mut third)));
        assert_eq!(waits.count_total, 0, "the tree's node has room");
        tokio::time::sleep(Duration::from_secs(3)).await;
        tokio::task::yield_now().await;
        let runs = measure(|| assert!(poll(&mut second) && poll(&mut third)));
        assert_eq!(runs.count_total, 2, "the two responses");
    });
}
