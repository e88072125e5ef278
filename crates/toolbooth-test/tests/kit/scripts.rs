use futures_util::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use toolbooth::{CallContext, Content, ErrorKind, PartialResultLayer, TimeoutLayer, ToolError};
use toolbooth_test::{
    Script, ScriptedTool, assert_ended_at, assert_timed_out, call, call_all, ms, timeout_of,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn texts(contents: &[Content]) -> Vec<&str> {
    contents.iter().filter_map(Content::as_text).collect()
}

#[tokio::test(start_paused = true)]
async fn each_call_runs_its_script_and_later_calls_the_last() {
    let tool = ScriptedTool::scripts([
        Script::new().delay(ms(30)).respond("first"),
        Script::new().respond("second"),
        Script::new().fail("third"),
    ]);
    let finished = call_all(tool.clone(), (0..4).map(|_| call("tool"))).await;
    let results = finished.iter().map(|call| match &call.result {
        Ok(response) => response.text(),
        Err(error) => std::error::Error::source(error).unwrap().to_string(),
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results, ["first", "second", "third", "third"]);
    assert_ended_at(&finished, [ms(30), ms(0), ms(0), ms(0)]);
    assert_eq!((tool.probe().started(), tool.probe().finished()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn empty_script_and_empty_list_return_an_empty_response() {
    for tool in [
        ScriptedTool::script(Script::new()),
        ScriptedTool::scripts([]),
    ] {
        let finished = call_all(tool, [call("tool")]).await;
        assert_eq!(finished[0].result.as_ref().unwrap().contents(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn steps_before_the_response_reach_the_context() {
    let script = Script::new().emit("a").snapshot("half").emit("b").hang();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(100)))
        .layer(PartialResultLayer::new())
        .service(ScriptedTool::script(script));
    let finished = call_all(stack, [call("tool")]).await;
    assert_timed_out(&finished, ms(100));
    let partial = finished[0].result.as_ref().unwrap_err().partial().unwrap();
    assert_eq!(texts(partial.contents()), ["a", "b"]);
    assert_eq!(partial.snapshot(), Some(&"half".into()));
}

/// Each report of activity resets the idle limit, before the head and in the stream.
#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_call_alive() {
    let beats = |script: Script| script.delay(ms(80)).heartbeat().delay(ms(80)).heartbeat();
    let script = beats(beats(Script::new()).stream(["item"])).hang();
    let tool = ScriptedTool::script(script);
    let stack = TimeoutLayer::unlimited().with_idle(ms(100)).layer(tool);
    let finished = call_all(stack, [call("tool")]).await;
    assert_ended_at(&finished, [ms(320 + 100)]);
    let error = finished[0].result.as_ref().unwrap_err();
    assert_eq!(timeout_of(error).map(|(_, limit, _)| limit), Some(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn stream_delivers_its_items_at_their_times_and_ends() {
    let script = Script::new()
        .delay(ms(10))
        .stream(["a", "b"])
        .delay(ms(20))
        .emit("c")
        .stream(["d"])
        .respond("e")
        .emit("never");
    let output = ScriptedTool::script(script).oneshot(call("tool")).await;
    let watch = toolbooth_test::Stopwatch::start();
    let mut items = output.unwrap().into_stream();
    let mut found = Vec::new();
    while let Some(item) = items.next().await {
        let item: Content = item.unwrap();
        found.push((watch.elapsed(), item.as_text().unwrap().to_owned()));
    }
    let expected = [(0, "a"), (0, "b"), (20, "c"), (20, "d"), (20, "e")];
    assert_eq!(found, expected.map(|(at, item)| (ms(at), item.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn stream_fails_once_and_then_ends() {
    let script = Script::new().stream(["a"]).fail("lost").emit("never");
    let output = ScriptedTool::script(script).oneshot(call("tool")).await;
    let items: Vec<Result<_, ToolError>> = output.unwrap().into_stream().collect().await;
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].as_ref().unwrap(), &"a".into());
    assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::Tool);
}

#[tokio::test(start_paused = true)]
async fn error_of_a_script_keeps_its_type() {
    let script = Script::new().fail(ToolError::rate_limited(ms(70)));
    let finished = call_all(ScriptedTool::script(script), [call("tool")]).await;
    assert_eq!(finished[0].error_kind(), Some(ErrorKind::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn panics_have_the_text_of_the_script() {
    let tool = ScriptedTool::scripts([
        Script::new().panic("in the future"),
        Script::new().stream(["a"]).panic("in the stream"),
    ]);
    let panicked = AssertUnwindSafe(tool.clone().oneshot(call("tool")));
    let panic = panicked.catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "in the future");

    let output = tool.oneshot(call("tool")).await.unwrap();
    let read = AssertUnwindSafe(output.collect()).catch_unwind().await;
    let panic = read.unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "in the stream");
}

/// What a stream publishes after the head is part of the call.
#[tokio::test(start_paused = true)]
async fn snapshot_in_a_stream_reaches_the_context() {
    let script = Script::new().stream(["a"]).snapshot("one").respond("b");
    let made = call("tool");
    let context: CallContext = made.context().clone();
    let stack = PartialResultLayer::new().layer(ScriptedTool::script(script));
    let mut items = stack.clone().call(made).await.unwrap().into_stream();
    assert_eq!(items.next().await.unwrap().unwrap(), "a".into());
    assert_eq!(
        context
            .partial()
            .and_then(|partial| partial.snapshot().cloned()),
        None
    );
    assert_eq!(items.next().await.unwrap().unwrap(), "b".into());
    assert_eq!(context.partial().unwrap().snapshot(), Some(&"one".into()));
}
