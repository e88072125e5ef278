//! Live progress: what the caller of a tool shows while the tool runs, in a terminal and as
//! server-sent events.
//!
//! ```text
//! cargo run --example live_progress
//! ```
//!
//! The tool crawls five pages, at 200 ms a page, and loses its connection at the third one. A retry
//! resumes there. The caller reads the updates of the call, which have both attempts.
//!
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! lines are the same on every machine. It exits with 1 if a line is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::process::ExitCode;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, Content, RetryPolicy, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    Update, UpdateKind, Updates, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

const PAGES: u64 = 5;
const PAGE_TAKES: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<ExitCode, BoxError> {
    let mut code = ExitCode::SUCCESS;
    let mut check = |title: &str, lines: &[String], expected: &[&str]| {
        println!("{title}\n  {}\n", lines.join("\n").replace('\n', "\n  "));
        if lines != expected {
            eprintln!("expected: {expected:#?}");
            code = ExitCode::FAILURE;
        }
    };

    let call = ToolCall::new("crawl", json!({ "pages": PAGES }));
    // Before the call is made: a stream has what is published after it is taken.
    let updates = call.updates();
    let (output, lines) = tokio::join!(crawler().oneshot(call), in_a_terminal(updates));
    check("In a terminal:", &lines, &TERMINAL);
    println!("Result: {}\n", output?.collect().await?.text());

    let call = ToolCall::new("crawl", json!({ "pages": PAGES }));
    let frames: Vec<_> = server_sent_events(crawler(), call).collect().await;
    let frames: Vec<_> = frames.iter().map(|frame| frame.trim().to_owned()).collect();
    let shown = [&frames[..3], &frames[frames.len() - 1..]].concat();
    check(
        "Server-sent events, the first and the last:",
        &shown,
        &EVENTS,
    );

    let call = ToolCall::new("crawl", json!({ "pages": PAGES }));
    // It has room for three updates, and nothing reads them until the call is over.
    let updates = call.updates_with_capacity(3);
    crawler().oneshot(call).await?.collect().await?;
    check(
        "A reader that lags:",
        &in_a_terminal(updates).await,
        &LAGGED,
    );
    Ok(code)
}

/// Makes the tool, with a retry around each attempt and a timeout around all.
fn crawler()
-> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Send + 'static {
    let policy = RetryPolicy::new(2)
        .with_idempotent(true)
        .with_backoff(Duration::ZERO, Duration::ZERO);
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .layer(RetryLayer::new(policy))
        .service(tool_fn("crawl", crawl))
}

async fn crawl(call: CallContext, args: Value) -> Result<String, BoxError> {
    let pages = args["pages"].as_u64().unwrap_or(1);
    let first = match call.last_checkpoint() {
        Some(Content::Json(next)) => next.as_u64().unwrap_or(1),
        _ => 1,
    };
    for page in first..=pages {
        sleep(PAGE_TAKES).await;
        if page == 3 && call.attempt() == 1 {
            return Err("the connection is lost".into());
        }
        call.emit(format!("page {page}"));
        call.progress(page, pages, None);
        call.checkpoint(json!(page + 1)); // a heartbeat, too
    }
    Ok(format!("{pages} pages"))
}

/// Renders each update as a line with its time.
async fn in_a_terminal(mut updates: Updates) -> Vec<String> {
    let (start, mut lines) = (Instant::now(), Vec::new());
    while let Some(Update { attempt, kind, .. }) = updates.recv().await {
        let line = match kind {
            UpdateKind::Item(item) => item.to_text().into_owned(),
            UpdateKind::Progress(progress) => {
                let total = progress.total().unwrap_or(progress.done());
                let bar = (1..=total).map(|step| if step <= progress.done() { '#' } else { '.' });
                format!("[{}]", bar.collect::<String>())
            }
            UpdateKind::Lagged(missed) => format!("({missed} updates missed)"),
            // Activity, which a terminal need not show. New kinds may come.
            _ => continue,
        };
        let at = start.elapsed().as_secs_f32();
        lines.push(format!("{at:.1} s, attempt {attempt}: {line}"));
    }
    lines
}

const TERMINAL: [&str; 10] = [
    "0.2 s, attempt 1: page 1",
    "0.2 s, attempt 1: [#....]",
    "0.4 s, attempt 1: page 2",
    "0.4 s, attempt 1: [##...]",
    "0.8 s, attempt 2: page 3",
    "0.8 s, attempt 2: [###..]",
    "1.0 s, attempt 2: page 4",
    "1.0 s, attempt 2: [####.]",
    "1.2 s, attempt 2: page 5",
    "1.2 s, attempt 2: [#####]",
];

/// The last report of progress, and the newest items. Heartbeats, and reports that a newer one
/// replaces, are not missed.
const LAGGED: [&str; 4] = [
    "0.0 s, attempt 2: (3 updates missed)",
    "0.0 s, attempt 2: page 4",
    "0.0 s, attempt 2: page 5",
    "0.0 s, attempt 2: [#####]",
];

/// Makes a call, and renders its updates and its result as the frames of a `text/event-stream`. A
/// route returns them as its body, for example in axum
/// `Body::from_stream(frames.map(Ok::<_, Infallible>))`.
fn server_sent_events<S>(tool: S, call: ToolCall) -> impl Stream<Item = String>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Send + 'static,
{
    let updates = call.updates().map(frame_of);
    // Dropping the set aborts the task: the call ends when the client disconnects.
    let mut running = JoinSet::new();
    running.spawn(async move { tool.oneshot(call).await?.collect().await });
    let result = async move {
        match running.join_next().await {
            Some(Ok(Ok(output))) => frame("result", &json!(output.text())),
            Some(Ok(Err(error))) => frame("error", &json!(error.public_message())),
            Some(Err(_)) | None => frame("error", &json!("the tool panicked")),
        }
    };
    // The updates end with the call.
    updates.chain(stream::once(result))
}

fn frame_of(Update { attempt, kind, .. }: Update) -> String {
    match kind {
        UpdateKind::Item(item) => frame("item", &json!({ "attempt": attempt, "item": *item })),
        UpdateKind::Snapshot(snapshot) => frame("snapshot", &json!(*snapshot)),
        UpdateKind::Progress(progress) => frame("progress", &json!(progress)),
        UpdateKind::Lagged(missed) => frame("lagged", &json!({ "missed": missed })),
        // A comment keeps the connection alive.
        _ => ":\n\n".to_owned(),
    }
}

/// JSON has no line ends, which would end the field.
fn frame(event: &str, data: &Value) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

const EVENTS: [&str; 4] = [
    "event: item\ndata: {\"attempt\":1,\"item\":{\"text\":\"page 1\",\"type\":\"text\"}}",
    "event: progress\ndata: {\"done\":1,\"total\":5}",
    ":",
    "event: result\ndata: \"5 pages\"",
];
