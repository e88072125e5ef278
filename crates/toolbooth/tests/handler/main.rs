//! Functions as tools: what they take, what they answer, how they fail.

#[path = "../support/mod.rs"]
mod support;

use std::io;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Count, call, error, next, text};
use tokio_test::assert_ready;
use toolbooth::{
    BoxError, CallContext, Content, ErrorKind, Outcome, PartialResultLayer, ToolCall, ToolError,
    ToolOutput, stream_tool_fn, tool_fn,
};
use tower::{Layer, Service, ServiceExt};

#[derive(Debug, Deserialize)]
struct Search {
    pattern: String,
    filter: Filter,
}

#[derive(Debug, Deserialize)]
struct Filter {
    tags: Vec<u8>,
}

#[derive(Debug, Serialize)]
struct Found {
    lines: Vec<u32>,
}

fn with(args: Value) -> ToolCall {
    ToolCall::new("tool", args)
}

/// What a handler answers to these arguments, as its only content.
async fn only(answer: Result<ToolOutput, ToolError>) -> Content {
    let collected = answer
        .expect("an answer")
        .collect()
        .await
        .expect("a whole answer");
    let [only] = <[Content; 1]>::try_from(collected.into_contents()).expect("one content");
    only
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn handler_takes_arguments_alone_or_behind_the_context() {
    let alone = tool_fn("add", async |(a, b): (i64, i64)| Ok::<_, io::Error>(a + b));
    assert_eq!(alone.name(), "add");
    let call = with(json!([1, 2]));
    assert_eq!(
        only(alone.oneshot(call).await).await,
        Content::Json(json!(3))
    );

    let behind = tool_fn("who", async |context: CallContext, (): ()| {
        Ok::<_, io::Error>(format!("{} {}", context.tool(), context.id()))
    });
    let call = with(json!(null)).with_id("17");
    assert_eq!(text(behind.oneshot(call).await).await, "tool 17");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_of_a_handler_is_that_of_its_call() {
    let tool = tool_fn("half", async |context: CallContext, (): ()| {
        context.emit("half");
        Err::<(), _>(BoxError::from("half way"))
    });
    let call = call();
    let outcomes = support::told(call.context());
    let failed = error(PartialResultLayer::new().layer(tool).oneshot(call).await);
    assert_eq!(
        failed.partial().unwrap().contents(),
        [Content::from("half")]
    );
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_is_text_json_or_what_the_handler_made_of_it() {
    let as_text = tool_fn("t", async |_: ()| Ok::<_, io::Error>("found"));
    assert_eq!(
        only(as_text.oneshot(call()).await).await,
        Content::from("found")
    );
    let owned = tool_fn("t", async |_: ()| Ok::<_, io::Error>("found".to_owned()));
    assert_eq!(
        only(owned.oneshot(call()).await).await,
        Content::from("found")
    );

    let as_json = tool_fn("t", async |_: ()| {
        Ok::<_, io::Error>(Found { lines: vec![3, 9] })
    });
    let found = only(as_json.oneshot(call()).await).await;
    assert_eq!(found, Content::Json(json!({ "lines": [3, 9] })));
    let value = tool_fn("t", async |_: ()| {
        Ok::<_, io::Error>(json!({ "lines": [] }))
    });
    assert_eq!(
        only(value.oneshot(call()).await).await,
        Content::Json(json!({ "lines": [] }))
    );
    let unit = tool_fn("t", async |_: ()| Ok::<_, io::Error>(()));
    assert_eq!(
        only(unit.oneshot(call()).await).await,
        Content::Json(json!(null))
    );

    let output = tool_fn("t", async |_: ()| {
        Ok::<_, io::Error>(ToolOutput::error("no such file").with_meta("cost", 3))
    });
    let output = output.oneshot(call()).await.unwrap();
    assert!(output.is_error());
    assert_eq!(output.meta().unwrap()["cost"], 3);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_that_does_not_serialize_is_a_failure_of_the_tool() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not to be written"))
        }
    }
    let tool = tool_fn("t", async |_: ()| Ok::<_, io::Error>(Never));
    let failed = error(tool.oneshot(call()).await);
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = std::error::Error::source(&failed).unwrap();
    assert_eq!(source.to_string(), "not to be written");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_handler_is_the_source_and_one_of_ours_stays_what_it_is() {
    let fails = tool_fn("t", async |_: ()| {
        Err::<(), _>(io::Error::other("disk full"))
    });
    let failed = error(fails.oneshot(call()).await);
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = std::error::Error::source(&failed).unwrap();
    assert_eq!(
        source.downcast_ref::<io::Error>().unwrap().to_string(),
        "disk full"
    );

    let refuses = tool_fn("t", async |_: ()| {
        Err::<(), _>(ToolError::unknown_tool("x"))
    });
    assert_eq!(
        error(refuses.oneshot(call()).await).kind(),
        ErrorKind::UnknownTool
    );
    let boxed = tool_fn("t", async |_: ()| {
        Err::<(), BoxError>(ToolError::rate_limited(support::ms(5)).into())
    });
    assert_eq!(
        error(boxed.oneshot(call()).await).retry_after(),
        Some(support::ms(5))
    );
}

// --- arguments

/// The path and the message of the refusal of these arguments, by a handler that must not be called.
async fn refused(args: Value) -> (String, String) {
    let called = Count::default();
    let count = called.clone();
    let tool = tool_fn("search", move |search: Search| {
        count.add();
        std::future::ready(Ok::<_, io::Error>((search.pattern, search.filter.tags)))
    });
    let call = with(args);
    let outcomes = support::told(call.context());
    let refused = error(PartialResultLayer::off().layer(tool).oneshot(call).await);
    assert_eq!((called.get(), refused.is_retryable()), (0, false));
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
    match refused {
        ToolError::InvalidArguments { path, message, .. } => {
            (path.to_string(), message.to_string())
        }
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn wrong_argument_names_its_path_and_the_handler_is_not_called() {
    let nested = json!({ "pattern": "x", "filter": { "tags": [1, 2, "three"] } });
    for args in [nested.clone(), Value::String(nested.to_string())] {
        let (path, message) = refused(args).await;
        assert_eq!(path, "filter.tags[2]");
        assert!(
            message.starts_with("invalid type: string \"three\", expected u8"),
            "{message}"
        );
    }
    let (path, message) = refused(json!({ "pattern": "x", "filter": {} })).await;
    assert_eq!(
        (path.as_str(), message.as_str()),
        ("filter", "missing field `tags`")
    );
    let (path, message) = refused(json!({ "filter": { "tags": [300] }, "pattern": "x" })).await;
    assert_eq!(path, "filter.tags[0]");
    assert_eq!(message, "invalid value: integer `300`, expected u8");
    let (path, _) = refused(json!([])).await;
    assert_eq!(path, ".");
    let (path, message) = refused(json!(null)).await;
    assert_eq!(
        (path.as_str(), message.as_str()),
        (".", "missing field `pattern`")
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn arguments_that_are_no_json_are_refused() {
    for text in ["{", "{\"pattern\": \"x\"", "pattern=x", "{} {}", "\u{0}"] {
        let (_, message) = refused(json!(text)).await;
        assert!(!message.is_empty());
    }
    let whole = r#"{"pattern":"x","filter":{"tags":[1]}}"#;
    let (path, message) = refused(json!(format!("{whole} and more"))).await;
    assert_eq!(path, ".");
    assert!(message.starts_with("trailing characters"), "{message}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn arguments_given_as_json_text_are_taken_as_json() {
    let tool = tool_fn("search", async |search: Search| {
        Ok::<_, io::Error>(format!("{} {:?}", search.pattern, search.filter.tags))
    });
    let args = json!(r#" {"pattern":"x","filter":{"tags":[1,2]}} "#);
    assert_eq!(text(tool.oneshot(with(args)).await).await, "x [1, 2]");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_argument_of_a_handler_that_takes_text_stays_as_it_is() {
    let echo = tool_fn("echo", async |text: String| Ok::<_, io::Error>(text));
    for plain in ["hello there", "{ not json", "line\nline"] {
        assert_eq!(
            text(echo.clone().oneshot(with(json!(plain))).await).await,
            plain
        );
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn ten_megabytes_of_arguments_are_taken_and_refused_alike() {
    let length = tool_fn("length", async |text: String| {
        Ok::<_, io::Error>(text.len())
    });
    let ten = "x".repeat(10 << 20);
    let answer = length.oneshot(with(json!(ten))).await;
    assert_eq!(only(answer).await, Content::Json(json!(10 << 20)));

    let wrong = json!({ "pattern": ten, "filter": { "tags": "none" } });
    let (path, _) = refused(wrong.clone()).await;
    assert_eq!(path, "filter.tags");
    let (path, _) = refused(Value::String(wrong.to_string())).await;
    assert_eq!(path, "filter.tags");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deep_json_text_is_refused_and_overflows_no_stack() {
    let tool = tool_fn("t", async |values: Vec<Value>| {
        Ok::<_, io::Error>(values.len())
    });
    let deep = "[".repeat(1 << 20);
    let refused = error(tool.oneshot(with(json!(deep))).await);
    assert_eq!(refused.kind(), ErrorKind::InvalidArguments);
    assert!(
        refused.to_string().contains("recursion limit exceeded"),
        "{refused}"
    );
}

// --- streams

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_answers_piece_by_piece() {
    let count = stream_tool_fn("count", |to: u32| {
        futures_util::stream::iter(0..to)
            .map(|number| Ok::<_, io::Error>(Content::from(number.to_string())))
    });
    assert_eq!(count.name(), "count");
    let mut stream = count
        .clone()
        .oneshot(with(json!(2)))
        .await
        .unwrap()
        .into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "0");
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "1");
    assert!(next(&mut stream).await.is_none());
    assert_eq!(text(count.oneshot(with(json!("3"))).await).await, "012");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_takes_the_context_and_fails_in_the_middle() {
    let half = stream_tool_fn("half", |context: CallContext, (): ()| {
        context.emit("emitted");
        futures_util::stream::iter([Ok(Content::from("streamed")), Err("half way")])
    });
    let stream = PartialResultLayer::new()
        .layer(half)
        .oneshot(call())
        .await
        .unwrap();
    let failed = stream.collect().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let kept = failed.into_partial().unwrap().into_contents();
    assert_eq!(kept, [Content::from("emitted"), Content::from("streamed")]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_handler_is_not_called_on_wrong_arguments() {
    let called = Count::default();
    let count = called.clone();
    let tool = stream_tool_fn("t", move |_: Search| {
        count.add();
        futures_util::stream::empty::<Result<Content, io::Error>>()
    });
    let refused = error(tool.oneshot(with(json!({ "pattern": 7 }))).await);
    assert_eq!(refused.kind(), ErrorKind::InvalidArguments);
    assert!(
        refused
            .to_string()
            .starts_with("invalid arguments at `pattern`: "),
        "{refused}"
    );
    assert_eq!(called.get(), 0);
}

// --- as services

#[test]
fn handler_is_called_in_call_and_its_future_is_dropped_with_ours() {
    let (called, dropped) = (Count::default(), Count::default());
    let (count, on_drop) = (called.clone(), dropped.clone());
    let mut tool = tool_fn("t", move |_: ()| {
        count.add();
        let on_drop = on_drop.on_drop();
        async move {
            let _on_drop = on_drop;
            std::future::pending::<Result<(), io::Error>>().await
        }
    });
    assert_ready!(tokio_test::task::spawn(()).enter(|cx, _| tool.poll_ready(cx))).unwrap();
    let future = tool.call(call());
    assert_eq!((called.get(), dropped.get()), (1, 0));
    drop(future);
    assert_eq!((called.get(), dropped.get()), (1, 1));
}

#[test]
fn tools_show_their_name_and_not_what_they_hold() {
    let tool = tool_fn("search", async |_: ()| Ok::<_, io::Error>(()));
    assert_eq!(format!("{tool:?}"), "ToolFn { name: \"search\", .. }");
    let stream = stream_tool_fn("tail", |_: ()| {
        futures_util::stream::empty::<Result<Content, io::Error>>()
    });
    assert_eq!(format!("{stream:?}"), "StreamToolFn { name: \"tail\", .. }");
}
