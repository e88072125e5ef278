//! Idle and first-item limits, heartbeats, the grace after a limit, and streams under limits.
//!
//! All times are equalities on the paused clock.

mod beats;
mod grace;
mod limits;
mod orders;
mod streams;

use std::time::Duration;

use serde_json::json;
use toolbooth::{
    BoxError, CallContext, Collected, Content, PartialResultLayer, TimeoutLayer, TimeoutScope,
    ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{BoxTool, Stopwatch, boxed, ms, timeout_of};
use tower::{Layer, Service, ServiceExt};

const TOTAL: TimeoutScope = TimeoutScope::Total;
const DEADLINE: TimeoutScope = TimeoutScope::Deadline;
const IDLE: TimeoutScope = TimeoutScope::Idle;
const FIRST_ITEM: TimeoutScope = TimeoutScope::FirstItem;

fn call() -> ToolCall {
    toolbooth_test::call("tool")
}

/// A tool that runs `work`.
fn tool<F, Fut>(work: F) -> BoxTool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
{
    boxed(tool_fn("tool", move |call: CallContext, _: ()| work(call)))
}

/// A tool that applies `act` to its context `times` times, with `every` after each.
fn repeats(
    every: Duration,
    times: usize,
    act: impl Fn(&CallContext) + Clone + Send + Sync + 'static,
) -> BoxTool {
    tool(move |call| {
        let act = act.clone();
        async move {
            for _ in 0..times {
                act(&call);
                tokio::time::sleep(every).await;
            }
            Ok(ToolOutput::text("done"))
        }
    })
}

/// How a call ended and after how many milliseconds; `Err` has scope, limit and elapsed time.
type Ended = (Result<(), (TimeoutScope, u128, u128)>, u128);

fn scope_of(error: &ToolError) -> (TimeoutScope, u128, u128) {
    let (scope, limit, elapsed) = timeout_of(error).expect("a timeout");
    (scope, limit.as_millis(), elapsed.as_millis())
}

async fn collected<S>(service: S, call: ToolCall) -> Result<Collected, ToolError>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    service.oneshot(call).await?.collect().await
}

async fn ended<S>(service: S, call: ToolCall) -> Ended
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let watch = Stopwatch::start();
    let result = collected(service, call).await;
    let result = result.map(drop).map_err(|error| scope_of(&error));
    (result, watch.elapsed().as_millis())
}

const fn ok(at: u128) -> Ended {
    (Ok(()), at)
}

/// A timeout that ended the call.
const fn expired(scope: TimeoutScope, limit: u128, at: u128) -> Ended {
    (Err((scope, limit, at)), at)
}

fn idle(limit: u64) -> TimeoutLayer {
    TimeoutLayer::unlimited().with_idle(ms(limit))
}

/// The tool in a timeout and in a layer that keeps partial results.
fn kept<S>(timeout: &TimeoutLayer, tool: S) -> BoxTool
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    boxed(timeout.layer(PartialResultLayer::new().layer(tool)))
}

fn texts(contents: &[Content]) -> Vec<&str> {
    contents
        .iter()
        .map(|content| content.as_text().expect("a text"))
        .collect()
}
