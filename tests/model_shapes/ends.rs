//! Each way in which a call ends, by real layers on the paused clock.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use governor::Quota;
use serde_json::{Value, json};
use tokio::time::sleep;
use toolbooth::model::ModelResult;
use toolbooth::toolbox::Denied;
use toolbooth::{
    BoxError, CallContext, CatchPanicLayer, CircuitBreakerLayer, ConcurrencyLimitLayer, Content,
    OverloadReason, PartialResultLayer, RateLimitLayer, ShutdownLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput, Toolbox, tool_fn,
};
use toolbooth_test::{BoxTool, boxed, ms};
use toolbooth_tests::MINUTE;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::SHAPES;

/// A tool that emits two pages and never ends.
async fn crawl(context: CallContext, _: Value) -> Result<(), BoxError> {
    context.emit("page 1");
    context.emit(json!({ "page": 2 }));
    std::future::pending().await
}

fn tool() -> BoxTool {
    boxed(tool_fn("crawl", crawl))
}

/// A tool that returns this.
fn returns(result: fn() -> Result<ToolOutput, ToolError>) -> BoxTool {
    boxed(tool_fn("crawl", move |_: Value| async move { result() }))
}

async fn run(tool: BoxTool) -> ModelResult {
    SHAPES[0].call("crawl", json!("{}")).run(tool).await
}

/// Runs a call of a limit while another call of it runs.
async fn run_second(tool: BoxTool) -> ModelResult {
    let first = tool.clone().oneshot(ToolCall::new("crawl", json!(null)));
    tokio::select! {
        biased;
        _ = first => unreachable!("the first call does not end"),
        second = run(tool) => second,
    }
}

/// The results of a call by how it ended.
pub(crate) async fn ends() -> BTreeMap<&'static str, ModelResult> {
    let mut ends = BTreeMap::new();
    responses(&mut ends).await;
    timeouts(&mut ends).await;
    cancellations(&mut ends).await;
    rejections(&mut ends).await;
    failures(&mut ends).await;
    ends
}

async fn responses(ends: &mut BTreeMap<&'static str, ModelResult>) {
    for (end, tool) in [
        ("text", returns(|| Ok(ToolOutput::text("42 pages")))),
        (
            "json",
            returns(|| Ok(ToolOutput::json(json!({ "pages": [1, 2] })))),
        ),
        (
            "no content",
            returns(|| Ok(ToolOutput::contents(Vec::new()))),
        ),
        ("blank text", returns(|| Ok(ToolOutput::text(" \n")))),
        (
            "error of the tool",
            returns(|| Ok(ToolOutput::error("no such site"))),
        ),
        (
            "text and image",
            returns(|| {
                let png = Content::data("image/png", &b"\x89PNG"[..]);
                Ok(ToolOutput::contents(vec![
                    "before".into(),
                    png,
                    "after".into(),
                ]))
            }),
        ),
        (
            "bytes",
            returns(|| Ok(Content::data("application/pdf", &b"%PDF"[..]).into())),
        ),
    ] {
        ends.insert(end, run(tool).await);
    }
}

async fn timeouts(ends: &mut BTreeMap<&'static str, ModelResult>) {
    let partial = TimeoutLayer::new(ms(30_000)).layer(PartialResultLayer::new().layer(tool()));
    ends.insert("timeout with a partial result", run(boxed(partial)).await);

    let few = PartialResultLayer::new().with_max_items(1);
    let dropped = boxed(TimeoutLayer::new(ms(250)).layer(few.layer(tool())));
    ends.insert("timeout with dropped items", run(dropped).await);

    let screenshot = tool_fn("crawl", async |context: CallContext, _: Value| {
        context.snapshot(Content::data("image/webp", &b"RIFF"[..]));
        std::future::pending::<Result<(), BoxError>>().await
    });
    let screenshot = PartialResultLayer::new().layer(screenshot);
    let screenshot = boxed(TimeoutLayer::new(ms(1_500)).layer(screenshot));
    ends.insert("timeout with a snapshot", run(screenshot).await);

    ends.insert(
        "timeout",
        run(boxed(TimeoutLayer::new(ms(90_000)).layer(tool()))).await,
    );

    let queue = ConcurrencyLimitLayer::new(1);
    let queue = boxed(ServiceBuilder::new().layer(queue).service(tool()));
    let holds = queue.clone().oneshot(ToolCall::new("crawl", json!(null)));
    let waits = run(boxed(TimeoutLayer::new(ms(2_000)).layer(queue)));
    let waited = tokio::select! {
        biased;
        _ = holds => unreachable!("the first call does not end"),
        waited = waits => waited,
    };
    ends.insert("timeout in a queue", waited);
}

async fn cancellations(ends: &mut BTreeMap<&'static str, ModelResult>) {
    let mut canceller = None;
    let call = SHAPES[0].call("crawl", json!("{}")).map(|call| {
        canceller = Some(call.canceller());
        call
    });
    let canceller = canceller.expect("a call");
    let partial = PartialResultLayer::new().layer(tool());
    let (cancelled, ()) = tokio::join!(call.run(partial), async {
        sleep(ms(10)).await;
        canceller.cancel();
    });
    ends.insert("cancelled", cancelled);

    let shutdown = ShutdownLayer::new();
    let service = boxed(shutdown.layer(tool()));
    let (cancelled, _) = tokio::join!(run(service.clone()), async {
        sleep(ms(10)).await;
        shutdown.shutdown(ms(10), MINUTE).await
    });
    ends.insert("cancelled by a shutdown", cancelled);
    ends.insert("rejected by a shutdown", run(service).await);
}

async fn rejections(ends: &mut BTreeMap<&'static str, ModelResult>) {
    let rate = RateLimitLayer::new(Quota::per_minute(NonZeroU32::MIN)).reject();
    ends.insert("rate limited", run_second(boxed(rate.layer(tool()))).await);

    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    ends.insert("overloaded", run_second(boxed(limit.layer(tool()))).await);

    let closed = OverloadReason::Closed;
    let closed = ModelResult::new("call_1", Err(ToolError::overloaded(closed)));
    ends.insert("limit of 0", closed);
    let heavy = ToolError::overloaded(OverloadReason::too_heavy(4, 3));
    ends.insert("too heavy", ModelResult::new("call_1", Err(heavy)));

    let breaker = CircuitBreakerLayer::new();
    let fails = boxed(breaker.layer(returns(|| Err(ToolError::failed("hunter2")))));
    for _ in 0..5 {
        run(fails.clone()).await;
    }
    sleep(ms(9_500)).await;
    ends.insert("circuit open", run(fails).await);

    let deep = ToolError::too_deep(5).with_call(ToolCall::new("crawl", json!(null)).context());
    ends.insert("too deep", ModelResult::new("call_1", Err(deep)));
    let toolbox = Toolbox::builder().tool("crawl", tool());
    let toolbox = toolbox.gate(async |_| Err(Denied::new("read-only mode")));
    let toolbox = toolbox.build().expect("a toolbox");
    ends.insert("denied", run(boxed(toolbox.clone())).await);
    let unknown = SHAPES[0].call("crwal", json!("{}"));
    ends.insert("unknown tool", unknown.run(toolbox).await);
}

async fn failures(ends: &mut BTreeMap<&'static str, ModelResult>) {
    ends.insert(
        "failed",
        run(returns(|| Err(ToolError::failed("hunter2")))).await,
    );
    let retryable = returns(|| Err(ToolError::failed("hunter2").with_retryable(true)));
    ends.insert("failed for now", run(retryable).await);

    let panics = returns(|| unreachable!("hunter2"));
    ends.insert(
        "panicked",
        run(boxed(CatchPanicLayer::new().layer(panics))).await,
    );

    let strict = tool_fn("crawl", async |pages: u32| Ok::<_, ToolError>(pages));
    ends.insert("invalid arguments", run(boxed(strict)).await);

    let call = SHAPES[0].call("crawl", json!("{\"pages\": 1"));
    ends.insert("broken arguments", call.run(tool()).await);
}
