//! `tool_fn` and `stream_tool_fn`: arguments, results and errors of functions as tools.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod results;

use std::error::Error;
use std::io;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::{Outcomes, Probe, call, error_of, ms, rest, stream_of, text_of};
use tokio_test::assert_ready;
use toolbooth::{
    BoxError, CallContext, Content, ErrorKind, Outcome, PartialResultLayer, ToolCall, ToolError,
    ToolOutput, stream_tool_fn, tool_fn,
};
use tower::{Layer, Service, ServiceExt};

fn with(args: Value) -> ToolCall {
    ToolCall::new("tool", args)
}

/// The only content of a response.
async fn content_of<S>(tool: S, call: ToolCall) -> Content
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let output = tool.oneshot(call).await.expect("a response");
    let collected = output.collect().await.expect("a complete response");
    let [only] = <[Content; 1]>::try_from(collected.into_contents()).expect("one content");
    only
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn handler_takes_arguments_alone_or_after_the_context() {
    let alone = tool_fn("add", async |(a, b): (i64, i64)| Ok::<_, io::Error>(a + b));
    assert_eq!(alone.name(), "add");
    let sum = content_of(alone, with(json!([1, 2]))).await;
    assert_eq!(sum, Content::Json(json!(3)));

    let after = tool_fn("who", async |context: CallContext, (): ()| {
        Ok::<_, io::Error>(format!("{} {}", context.tool(), context.id()))
    });
    assert_eq!(text_of(after, call().with_id("17")).await, "tool 17");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_of_a_handler_is_that_of_its_call() {
    let tool = tool_fn("half", async |context: CallContext, (): ()| {
        context.emit("half");
        Err::<(), _>(BoxError::from("half way"))
    });
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let failed = error_of(PartialResultLayer::new().layer(tool), call).await;
    assert_eq!(support::kept(&failed).0, ["half"]);
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_handler_is_the_source_and_a_tool_error_keeps_its_kind() {
    let fails = tool_fn("t", async |_: ()| {
        Err::<(), _>(io::Error::other("disk full"))
    });
    let failed = error_of(fails, call()).await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = failed.source().unwrap().downcast_ref::<io::Error>();
    assert_eq!(source.unwrap().to_string(), "disk full");

    let rejects = tool_fn("t", async |_: ()| {
        Err::<(), _>(ToolError::unknown_tool("x"))
    });
    assert_eq!(
        error_of(rejects, call()).await.kind(),
        ErrorKind::UnknownTool
    );
    let boxed = tool_fn("t", async |_: ()| {
        Err::<(), BoxError>(ToolError::rate_limited(ms(5)).into())
    });
    assert_eq!(error_of(boxed, call()).await.retry_after(), Some(ms(5)));
}

// === streams

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_returns_item_by_item() {
    let count = stream_tool_fn("count", |to: u32| {
        stream::iter(0..to).map(|number| Ok::<_, io::Error>(Content::from(number.to_string())))
    });
    assert_eq!(count.name(), "count");
    let mut stream = stream_of(count.clone(), with(json!(2))).await;
    let (texts, error) = rest(&mut stream).await;
    assert_eq!(texts, ["0", "1"]);
    assert!(error.is_none());
    assert_eq!(text_of(count, with(json!("3"))).await, "012");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_takes_the_context_and_may_fail_between_items() {
    let half = stream_tool_fn("half", |context: CallContext, (): ()| {
        context.emit("emitted");
        stream::iter([Ok(Content::from("streamed")), Err("half way")])
    });
    let response = PartialResultLayer::new().layer(half).oneshot(call()).await;
    let failed = response.unwrap().collect().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(support::kept(&failed).0, ["emitted", "streamed"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_is_not_called_with_invalid_arguments() {
    let tool = stream_tool_fn(
        "t",
        move |_: arguments::Search| -> stream::Empty<io::Result<Content>> {
            unreachable!("the arguments are invalid")
        },
    );
    let rejected = error_of(tool, with(json!({ "pattern": 7 }))).await;
    assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    let text = rejected.to_string();
    assert!(
        text.starts_with("invalid arguments at `pattern`: "),
        "{text}"
    );
}

// === as services

#[test]
fn handler_is_called_in_call_and_its_future_is_dropped_with_the_response_future() {
    let (futures, handler) = (Probe::new(), Probe::new());
    let (inside, called) = (futures.clone(), handler.clone());
    let mut tool = tool_fn("t", move |_: ()| {
        drop(called.enter());
        let inside = inside.enter();
        async move {
            let _inside = inside;
            std::future::pending::<Result<(), io::Error>>().await
        }
    });
    assert_ready!(tokio_test::task::spawn(()).enter(|cx, _| tool.poll_ready(cx))).unwrap();
    let future = tool.call(call());
    assert_eq!((handler.started(), futures.running()), (1, 1));
    drop(future);
    assert_eq!((handler.started(), futures.running()), (1, 0));
}

#[test]
fn debug_prints_the_name_and_not_the_handler() {
    let tool = tool_fn("search", async |_: ()| Ok::<_, io::Error>(()));
    assert_eq!(format!("{tool:?}"), "ToolFn { name: \"search\", .. }");
    let stream = stream_tool_fn("tail", |_: ()| stream::empty::<io::Result<Content>>());
    assert_eq!(format!("{stream:?}"), "StreamToolFn { name: \"tail\", .. }");
}
