//! The tools of the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use toolbooth::events::EventsLayer;
use toolbooth::toolbox::ToolboxError;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, RetryPolicy, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    Toolbox, tool_fn,
};
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt};

/// A service of tool calls.
pub(super) type Agent = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

/// Returns the tool `report` around the tools that it calls. Each call has a span.
pub(super) fn agent(traced: &EventsLayer) -> Result<Agent, ToolboxError> {
    let tools = tools(traced)?;
    let report = tool_fn("report", move |call: CallContext, (): ()| {
        report(call, tools.clone())
    });
    let service = ServiceBuilder::new()
        .layer(traced.clone())
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .service(report);
    Ok(BoxCloneSyncService::new(service))
}

/// Makes two calls of a tool that runs one at a time, one that is retried, and one that fails.
async fn report(call: CallContext, tools: Agent) -> Result<&'static str, ToolError> {
    let make = |tool: &str, id: &str| {
        let child = call.child(tool, json!(null)).map(|child| child.with_id(id));
        let tools = tools.clone();
        async move { tools.oneshot(child?).await?.collect().await }
    };
    let (first, second) = tokio::join!(make("search", "search-1"), make("search", "search-2"));
    first?;
    second?;
    make("fetch", "fetch").await?;
    // Without an archive the report is complete all the same.
    let _ = make("archive", "archive").await;
    Ok("3 matches")
}

fn tools(traced: &EventsLayer) -> Result<Agent, ToolboxError> {
    let search = search(&ConcurrencyLimitLayer::new(1));
    let has_failed = Arc::new(AtomicBool::new(false));
    let fetch = tool_fn("fetch", move |_: ()| {
        let is_retry = has_failed.swap(true, Ordering::AcqRel);
        async move {
            match is_retry {
                true => Ok("a page"),
                false => Err(ToolError::failed("connection reset")),
            }
        }
    });
    // Inside of the retry, each attempt has a span as well.
    let retry = RetryPolicy::new(2)
        .with_idempotent(true)
        .with_backoff(Duration::from_millis(10), Duration::from_millis(10));
    let fetch = ServiceBuilder::new()
        .layer(RetryLayer::new(retry))
        .layer(traced.clone())
        .service(fetch);
    let archive = tool_fn("archive", async |_: ()| {
        Err::<&str, _>(ToolError::failed("the disk is full"))
    });
    let toolbox = Toolbox::builder()
        .tool("search", search)
        .tool("fetch", fetch)
        .tool("archive", archive)
        .build()?;
    let service = ServiceBuilder::new().layer(traced.clone()).service(toolbox);
    Ok(BoxCloneSyncService::new(service))
}

/// A tool of which one call runs at a time, for 50 ms from when the next one waits.
fn search(limit: &ConcurrencyLimitLayer) -> Agent {
    let queue = limit.clone();
    let next = Arc::new(AtomicBool::new(true));
    let search = tool_fn("search", move |_: ()| {
        let queue = queue.clone();
        let has_next = next.swap(false, Ordering::AcqRel);
        async move {
            while has_next && queue.queued() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            sleep(Duration::from_millis(50)).await;
            Ok::<_, ToolError>("a match")
        }
    });
    BoxCloneSyncService::new(limit.layer(search))
}
