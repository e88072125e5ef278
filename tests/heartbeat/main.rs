//! Limits that know progress from a hang: what a sign of life is, which limit it moves and which it does not, what a
//! tool may still do behind its limit, and what streams keep. On the paused clock, each number an equality.

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
use toolbooth_test::{Stopwatch, ms};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

const TOTAL: TimeoutScope = TimeoutScope::Total;
const DEADLINE: TimeoutScope = TimeoutScope::Deadline;
const IDLE: TimeoutScope = TimeoutScope::Idle;
const FIRST_ITEM: TimeoutScope = TimeoutScope::FirstItem;

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// A tool with this work.
fn tool<F, Fut>(work: F) -> BoxTool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
{
    BoxTool::new(tool_fn("tool", move |call: CallContext, _: ()| work(call)))
}

/// A tool that does this to its call every so often, so many times, from the start on.
fn stirs(
    every: Duration,
    times: usize,
    stir: impl Fn(&CallContext) + Clone + Send + Sync + 'static,
) -> BoxTool {
    tool(move |call| {
        let stir = stir.clone();
        async move {
            for _ in 0..times {
                stir(&call);
                tokio::time::sleep(every).await;
            }
            Ok(ToolOutput::text("done"))
        }
    })
}

/// How a call ended, in milliseconds since it began: `Err` with scope, limit and elapsed time of a timeout.
type Ended = (Result<(), (TimeoutScope, u128, u128)>, u128);

fn scope_of(error: &ToolError) -> (TimeoutScope, u128, u128) {
    match error {
        ToolError::Timeout {
            scope,
            limit,
            elapsed,
            ..
        } => (*scope, limit.as_millis(), elapsed.as_millis()),
        other => unreachable!("{other:?}"),
    }
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

/// Struck at its very end.
const fn struck(scope: TimeoutScope, limit: u128, at: u128) -> Ended {
    (Err((scope, limit, at)), at)
}

fn idle(limit: u64) -> TimeoutLayer {
    TimeoutLayer::unlimited().with_idle(ms(limit))
}

/// With what is kept of its calls.
fn kept<S>(timeout: &TimeoutLayer, tool: S) -> BoxTool
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    BoxTool::new(timeout.layer(PartialResultLayer::new().layer(tool)))
}

fn texts(contents: &[Content]) -> Vec<&str> {
    contents
        .iter()
        .map(|content| content.as_text().expect("a text"))
        .collect()
}
