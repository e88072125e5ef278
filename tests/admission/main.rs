//! Who may run, when, and who goes first: limits, rates, the order of the line, limits by tool and by key, circuit breakers, and limits that change,
//! as equalities on the paused clock.
//!
//! Each test bears the name of its guarantee: L is the concurrency limit, Q the rate limit. The others are named after the cases in which other crates go
//! wrong; of those, the ones that are about composition with tower's layers (`rl1`, `rl2c`, `rl4`, `bh3`, `tw3`) are in `foreign.rs`.

mod breaker;
mod changes;
mod concurrency;
mod keys;
mod order;
mod rate;

use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use governor::Quota;
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, ErrorKind, Order, Outcome, OverloadReason, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    FailingTool, FastTool, Finished, GeneratorTool, Probe, RateLimitedTool, Recorder, SlowTool,
    Stopwatch, call_all, ms,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

fn call(tool: &str) -> ToolCall {
    ToolCall::new(tool, json!(null))
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// So many a second, so many at once.
fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

fn count_ok(finished: &[Finished]) -> usize {
    finished.iter().filter(|finished| finished.is_ok()).count()
}

fn count(finished: &[Finished], kind: ErrorKind) -> usize {
    let kinds = finished.iter().filter_map(Finished::error_kind);
    kinds.filter(|found| *found == kind).count()
}

/// When the last of those that were answered was.
fn last_ok(finished: &[Finished]) -> Option<Duration> {
    let answered = finished.iter().filter(|finished| finished.is_ok());
    answered.map(|finished| finished.at).max()
}

/// A call of its own task, first polled before this returns.
async fn begin<S>(tool: &S, call: ToolCall) -> JoinHandle<Result<ToolOutput, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut running = Box::pin(tool.clone().oneshot(call));
    match futures_util::poll!(&mut running) {
        std::task::Poll::Ready(answer) => tokio::spawn(async { answer }),
        std::task::Poll::Pending => tokio::spawn(running),
    }
}

/// Notes the id of each call that starts, and takes 100 ms.
fn order_tool(
    starts: Recorder<String>,
) -> impl Service<
    ToolCall,
    Response = ToolOutput,
    Error = ToolError,
    Future = impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    tool_fn("order", move |call: CallContext, (): ()| {
        let starts = starts.clone();
        async move {
            starts.record(call.id().to_string());
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    })
}
