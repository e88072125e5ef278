//! The concurrency limit and the rate limit: admission, order, keys, costs, and changes.
//!
//! All times are equalities on the paused clock. The doc comment of a test names its guarantee: L
//! is the concurrency limit, Q the rate limit. Other ids name cases in which other crates go wrong.
//! Those with layers of tower are in the target `foreign` of the workspace's tests.

mod builders;
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
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, ErrorKind, Order, Outcome, OverloadReason, Quota,
    RateLimitLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    BoxTool, FailingTool, FastTool, Finished, GeneratorTool, Probe, RateLimitedTool, Recorder,
    SlowTool, Stopwatch, boxed, call, call_all, count_kind, count_ok, last_ok, ms, outcome,
    overload_reason,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// `rate` tokens a second with a burst.
fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

fn overload(finished: &Finished) -> Option<OverloadReason> {
    finished.result.as_ref().err().and_then(overload_reason)
}

/// The tenant of a call, as a key.
fn tenant(call: &CallContext) -> toolbooth::Name {
    call.tenant().unwrap_or_default().into()
}

/// Polls a call once and then runs it on its own task.
async fn begin<S>(tool: &S, call: ToolCall) -> JoinHandle<Result<ToolOutput, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut running = Box::pin(tool.clone().oneshot(call));
    match futures_util::poll!(&mut running) {
        std::task::Poll::Ready(response) => tokio::spawn(async { response }),
        std::task::Poll::Pending => tokio::spawn(running),
    }
}

/// A tool that records the id of each call and takes 100 ms.
fn recording(starts: &Recorder<String>) -> BoxTool {
    let starts = starts.clone();
    boxed(tool_fn("tool", move |call: CallContext, (): ()| {
        let starts = starts.clone();
        async move {
            starts.record(call.id().to_string());
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    }))
}

/// When calls ended, in milliseconds.
fn ends(finished: &[Finished]) -> Vec<u128> {
    let times = finished.iter().map(|finished| finished.at.as_millis());
    times.collect()
}

/// When calls started, in milliseconds.
fn starts_at(starts: &Recorder<String>) -> Vec<u128> {
    let times = starts.times().into_iter().map(|at| at.as_millis());
    times.collect()
}
