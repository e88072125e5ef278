use std::time::Duration;

use futures_util::StreamExt;
use toolbooth::{
    CleanupLayer, ErrorKind, Outcome, Partial, PartialResultLayer, TimeoutLayer, ToolCall,
    ToolError, Toolbox,
};
use toolbooth_test::{
    BoxTool, ErrorInjectionTool, Finished, GeneratorTool, InjectedError, PartialResultTool, Probe,
    Recorder, ResourceCleanupTool, SlowTool, Stopwatch, StreamingTool, boxed, call, call_all,
    count_kind, ms,
};
use tower::{Layer, ServiceExt};

use crate::table::Table;

pub(crate) async fn run(table: &mut Table) {
    slow_tool(table).await;
    partial_result(table).await;
    streaming(table).await;
    concurrent(table).await;
    cleanup_of_one_tool(table).await;
    cleanup_of_thirty_tools(table).await;
    generator(table).await;
    injected_errors(table).await;
}

/// A timeout outside of cleanup outside of partial results.
fn stack(limit: Duration, cleanup: &CleanupLayer, tool: BoxTool) -> BoxTool {
    let tool = cleanup.layer(PartialResultLayer::new().layer(tool));
    boxed(TimeoutLayer::new(limit).layer(tool))
}

/// Makes one call in the stack.
async fn one(limit: Duration, tool: BoxTool) -> Finished {
    let stack = stack(limit, &CleanupLayer::new(), tool);
    call_all(stack, [call("tool")]).await.remove(0)
}

/// Returns how and when a call ended.
fn end(finished: &Finished) -> String {
    let outcome = match finished.outcome() {
        Outcome::Completed => "ok",
        Outcome::TimedOut => "timed out",
        Outcome::Failed => "failed",
        _ => "another outcome",
    };
    format!("{outcome} at {} ms", finished.at.as_millis())
}

fn partial(finished: &Finished) -> Option<&Partial> {
    finished.result.as_ref().err().and_then(ToolError::partial)
}

async fn slow_tool(table: &mut Table) {
    let (tool, outcomes) = (SlowTool::new(ms(5_000)), Recorder::new());
    let cleanup = CleanupLayer::new();
    let call = call("slow");
    call.context().on_cleanup(outcomes.hook());
    let finished = call_all(stack(ms(2_000), &cleanup, boxed(tool.clone())), [call]).await;
    let dropped = tool.probe().finished();
    cleanup.drain(ms(1_000)).await;
    table.row(
        "slow_tool_timeout",
        "2001.18 ms, yes",
        format!(
            "{}, {dropped} dropped, {} outcome",
            end(&finished[0]),
            outcomes.len()
        ),
        "timed out at 2000 ms, 1 dropped, 1 outcome",
    );
}

async fn partial_result(table: &mut Table) {
    let finished = one(ms(2_000), boxed(PartialResultTool::new(ms(500)))).await;
    let snapshot = partial(&finished).and_then(Partial::snapshot);
    let snapshot = snapshot.map(|content| content.to_text().into_owned());
    table.row(
        "partial_result_tool",
        "2029.15 ms, no partial result",
        format!("{}, {}", end(&finished), snapshot.unwrap_or_default()),
        "timed out at 2000 ms, \
         {\"items_processed\":5,\"status\":\"in_progress\",\"total_items\":100}",
    );
}

async fn streaming(table: &mut Table) {
    let finished = one(ms(1_999), boxed(StreamingTool::new(ms(200), 20))).await;
    let contents = partial(&finished).map_or(&[][..], Partial::contents);
    let in_order = contents == StreamingTool::chunks(contents.len());
    let found = format!(
        "{}, {} of 20 chunks, in order: {in_order}",
        end(&finished),
        contents.len()
    );
    table.row(
        "streaming_tool_timeout",
        "2018.67 ms, 0 chunks",
        found,
        "timed out at 1999 ms, 10 of 20 chunks, in order: true",
    );
}

async fn concurrent(table: &mut Table) {
    let tool = SlowTool::new(ms(5_000));
    let stack = stack(ms(3_000), &CleanupLayer::new(), boxed(tool.clone()));
    let finished = call_all(stack, (0..20).map(|_| call("slow"))).await;
    let on_time = finished.iter().filter(|call| call.at == ms(3_000)).count();
    let timeouts = count_kind(&finished, ErrorKind::Timeout);
    let released = tool.probe().finished();
    table.row(
        "concurrent_timeout",
        "3016.93 ms, 20 of 20",
        format!("{timeouts} timed out, {on_time} at 3000 ms, {released} dropped"),
        "20 timed out, 20 at 3000 ms, 20 dropped",
    );
}

/// Returns acquired, released, and the hooks that ran.
fn released(resources: &[Probe], hooks: &[&Recorder<Outcome>]) -> String {
    let acquired: usize = resources.iter().map(Probe::started).sum();
    let released: usize = resources.iter().map(Probe::finished).sum();
    let hooks: usize = hooks.iter().map(|hooks| hooks.len()).sum();
    format!("{acquired} acquired, {released} released, {hooks} hooks")
}

async fn cleanup_of_one_tool(table: &mut Table) {
    let (tool, cleanup) = (ResourceCleanupTool::new(ms(60_000)), CleanupLayer::new());
    let stack = stack(ms(2_000), &cleanup, boxed(tool.clone()));
    call_all(stack, (0..30).map(|_| call("resource"))).await;
    cleanup.drain(ms(1_000)).await;
    table.row(
        "resource_cleanup, one tool",
        "not measured",
        released(&[tool.resources().clone()], &[tool.hooks()]),
        "30 acquired, 30 released, 30 hooks",
    );
}

async fn cleanup_of_thirty_tools(table: &mut Table) {
    let cleanup = CleanupLayer::new();
    let tools: Vec<_> = (0..30)
        .map(|_| ResourceCleanupTool::new(ms(60_000)))
        .collect();
    let names: Vec<_> = (0..30).map(|n| format!("resource_{n}")).collect();
    let named = names.iter().zip(&tools);
    let toolbox = named.fold(Toolbox::builder(), |toolbox, (name, tool)| {
        toolbox.tool(name.as_str(), tool.clone())
    });
    let toolbox = toolbox.build().expect("each name is there once");
    let stack = stack(ms(2_000), &cleanup, boxed(toolbox));
    call_all(stack, names.iter().map(|name| call(name.as_str()))).await;
    cleanup.drain(ms(1_000)).await;
    let resources: Vec<_> = tools.iter().map(|tool| tool.resources().clone()).collect();
    let hooks: Vec<_> = tools.iter().map(ResourceCleanupTool::hooks).collect();
    table.row(
        "resource_cleanup, 30 tools",
        "2018.99 ms, 1 of 30 cleaned up",
        released(&resources, &hooks),
        "30 acquired, 30 released, 30 hooks",
    );
}

/// Reads five items of a stream of twenty, under a limit.
async fn read_five(limit: Duration) -> String {
    let tool = GeneratorTool::new(ms(500), 20);
    let watch = Stopwatch::start();
    let stack = stack(limit, &CleanupLayer::new(), boxed(tool.clone()));
    let items = match stack.oneshot(call("generator")).await {
        Ok(response) => response.into_stream().take(5).collect::<Vec<_>>().await,
        Err(_) => Vec::new(),
    };
    let read = items.iter().filter(|item| item.is_ok()).count();
    let timeouts = items.iter().filter(|item| item.is_err()).count();
    let at = watch.elapsed().as_millis();
    let dropped = tool.probe().finished();
    format!("{read} items, {timeouts} timeout at {at} ms, {dropped} stream dropped")
}

async fn generator(table: &mut Table) {
    table.row(
        "async_generator_timeout, 1999 ms",
        "2014.33 ms, 4 items",
        read_five(ms(1_999)).await,
        "4 items, 1 timeout at 1999 ms, 1 stream dropped",
    );
    table.row(
        "async_generator_timeout, 2001 ms",
        "not measured",
        read_five(ms(2_001)).await,
        "5 items, 0 timeout at 2000 ms, 1 stream dropped",
    );
}

async fn injected_errors(table: &mut Table) {
    let stack = stack(
        ms(3_000),
        &CleanupLayer::new(),
        boxed(ErrorInjectionTool::new()),
    );
    let cases = [
        (None, 0),
        (Some(InjectedError::Timeout), 0),
        (Some(InjectedError::Connection), 100),
    ];
    let calls = cases
        .map(|(error, delay)| ToolCall::new("inject", ErrorInjectionTool::args(error, ms(delay))));
    let finished = call_all(stack, calls).await;
    let ends: Vec<_> = finished.iter().map(end).collect();
    let timeouts = count_kind(&finished, ErrorKind::Timeout);
    table.row(
        "error_injection",
        "101.10 ms, 1 of 3 a timeout",
        format!("{}; {timeouts} timeouts", ends.join(", ")),
        "ok at 0 ms, failed at 0 ms, failed at 100 ms; 0 timeouts",
    );
}
