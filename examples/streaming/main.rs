//! A consumer reads a streaming response while the limits of the call apply: the items it receives,
//! and the partial result of the error that ends the stream.
//!
//! ```text
//! cargo run --example streaming
//! ```
//!
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! numbers are the same on every machine. It exits with 1 if a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod build;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, PartialResultLayer, TimeoutLayer, ToolCall, ToolError,
    stream_tool_fn,
};
use tower::{ServiceBuilder, ServiceExt};

/// A call of the tool, and the behaviour of its consumer.
struct Case {
    title: &'static str,
    call: ToolCall,
    /// The number of lines after which the consumer pauses for a minute.
    stalls_after: Option<usize>,
    expected: Expected,
}

/// The number of lines, the time at which the permit was released, and the error of the stream.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    lines: usize,
    released_at: Duration,
    end: Option<&'static str>,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut all_expected = true;
    for case in cases() {
        match run(case).await {
            Ok(as_expected) => all_expected &= as_expected,
            Err(error) => {
                eprintln!("streaming: {error}");
                all_expected = false;
            }
        }
    }
    match all_expected {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn cases() -> [Case; 5] {
    let case = |title, args, stalls_after, (lines, released_at, end)| Case {
        title,
        call: ToolCall::new("build", args),
        stalls_after,
        expected: Expected {
            lines,
            released_at: ms(released_at),
            end,
        },
    };
    let total = "timed out after 4s (total limit of 4s of `timeout`)";
    [
        case(
            "A build of ten steps",
            json!({ "steps": 10 }),
            None,
            (10, 3_000, None),
        ),
        case(
            "A build that hangs in its fourth step: the idle limit expires",
            json!({ "steps": 10, "hangs_in": 4 }),
            None,
            (
                3,
                1_400,
                Some("timed out after 1.4s (idle limit of 500ms of `timeout`)"),
            ),
        ),
        case(
            "A build that never starts: the limit on the first item expires",
            json!({ "steps": 10, "hangs_in": 1 }),
            None,
            (
                0,
                1_000,
                Some("timed out after 1s (first_item limit of 1s of `timeout`)"),
            ),
        ),
        case(
            "A build without an end: the total limit expires",
            json!({ "steps": 1_000 }),
            None,
            (13, 4_000, Some(total)),
        ),
        case(
            "A consumer that pauses after two lines: the permit is released, the error is buffered",
            json!({ "steps": 10 }),
            Some(2),
            (
                2,
                1_100,
                Some("timed out after 1.1s (idle limit of 500ms of `timeout`)"),
            ),
        ),
    ]
}

/// Reads the response of a call; returns whether the results are the expected ones.
async fn run(case: Case) -> Result<bool, BoxError> {
    println!("{}", case.title);
    let permits = ConcurrencyLimitLayer::new(1);
    let build = ServiceBuilder::new()
        .layer(
            TimeoutLayer::new(ms(4_000))
                .with_first_item(ms(1_000))
                .with_idle(ms(500)),
        )
        .layer(permits.clone())
        .layer(PartialResultLayer::new())
        .service(stream_tool_fn("build", build::build));

    let started = Instant::now();
    let released = tokio::spawn(released(permits, started));
    let mut stream = build.oneshot(case.call).await?.into_stream();
    let (mut lines, mut end) = (0, None);
    while let Some(item) = stream.next().await {
        let at = started.elapsed().as_millis();
        match item {
            Ok(line) => {
                lines += 1;
                println!("  {at:>6} ms  {}", line.as_text().unwrap_or_default());
            }
            Err(error) => {
                println!("  {at:>6} ms  {error}; {}", partial_text(&error));
                end = Some(error.to_string());
            }
        }
        if case.stalls_after == Some(lines) && end.is_none() {
            sleep(Duration::from_secs(60)).await;
        }
    }
    let released_at = released.await?;
    println!("  permit released at {} ms\n", released_at.as_millis());

    let Expected {
        lines: expected_lines,
        released_at: expected_at,
        end: expected_end,
    } = case.expected;
    let as_expected =
        lines == expected_lines && released_at == expected_at && end.as_deref() == expected_end;
    if !as_expected {
        eprintln!(
            "expected: {expected_lines} lines, released at {expected_at:?}, {expected_end:?}"
        );
    }
    Ok(as_expected)
}

/// Describes the partial result of the error.
fn partial_text(error: &ToolError) -> String {
    match error.partial() {
        Some(partial) => format!(
            "partial result of {} lines, {} of them delivered",
            partial.contents().len(),
            partial.delivered()
        ),
        None => "no partial result".to_owned(),
    }
}

/// Waits until the one permit is released; returns the time since `started`.
async fn released(permits: ConcurrencyLimitLayer, started: Instant) -> Duration {
    sleep(ms(1)).await;
    while permits.available() == 0 {
        sleep(ms(1)).await;
    }
    started.elapsed()
}
