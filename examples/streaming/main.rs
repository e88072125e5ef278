//! A consumer reads an answer as it comes, while the limits of its call run: what it gets, and what the error at the
//! end of a stream that was cut carries.
//!
//! ```text
//! cargo run --example streaming
//! ```
//!
//! The clock is tokio's paused one, which moves on when every task waits: so it takes no time, and every number is
//! the same on any machine. It exits with 1 if one is not as explained.

#![expect(clippy::print_stdout, reason = "what is read is what it is for")]

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

/// A call of the tool, and what its consumer does.
struct Case {
    title: &'static str,
    call: ToolCall,
    /// After how many lines the consumer stops to read for a minute.
    stalls_after: Option<usize>,
    expected: Expected,
}

/// What is to come of it: lines, when the permit was free again, and how the stream ended.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    lines: usize,
    free_at: Duration,
    end: Option<&'static str>,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut as_explained = true;
    for case in cases() {
        match run(case).await {
            Ok(as_expected) => as_explained &= as_expected,
            Err(error) => {
                eprintln!("streaming: {error}");
                as_explained = false;
            }
        }
    }
    match as_explained {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn cases() -> [Case; 5] {
    let case = |title, args, stalls_after, (lines, free_at, end)| Case {
        title,
        call: ToolCall::new("build", args),
        stalls_after,
        expected: Expected {
            lines,
            free_at: ms(free_at),
            end,
        },
    };
    let total = "timed out after 4s (total limit of 4s)";
    [
        case(
            "A build of ten steps, whose lines are read as they come",
            json!({ "steps": 10 }),
            None,
            (10, 3_000, None),
        ),
        case(
            "A build that hangs in its fourth step: half a second without a line is too long",
            json!({ "steps": 10, "hangs_in": 4 }),
            None,
            (3, 1_400, Some("timed out after 1.4s (idle limit of 500ms)")),
        ),
        case(
            "A build that never begins: the first line has a limit of its own",
            json!({ "steps": 10, "hangs_in": 1 }),
            None,
            (
                0,
                1_000,
                Some("timed out after 1s (first_item limit of 1s)"),
            ),
        ),
        case(
            "A build without an end: no line comes behind the limit on the whole",
            json!({ "steps": 1_000 }),
            None,
            (13, 4_000, Some(total)),
        ),
        case(
            "A reader who stalls after two lines: the permit is free all the same, the error waits",
            json!({ "steps": 10 }),
            Some(2),
            (2, 1_100, Some("timed out after 1.1s (idle limit of 500ms)")),
        ),
    ]
}

/// Reads the answer of a call; true if all came as expected.
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
    let freed = tokio::spawn(freed(permits, started));
    let mut answer = build.oneshot(case.call).await?.into_stream();
    let (mut lines, mut end) = (0, None);
    while let Some(piece) = answer.next().await {
        let at = started.elapsed().as_millis();
        match piece {
            Ok(line) => {
                lines += 1;
                println!("  {at:>6} ms  {}", line.as_text().unwrap_or_default());
            }
            Err(error) => {
                println!("  {at:>6} ms  {error}; {}", carried(&error));
                end = Some(error.to_string());
            }
        }
        if case.stalls_after == Some(lines) && end.is_none() {
            sleep(Duration::from_secs(60)).await;
        }
    }
    let free_at = freed.await?;
    println!("  The permit was free at {} ms.\n", free_at.as_millis());

    let Expected {
        lines: expected_lines,
        free_at: expected_at,
        end: expected_end,
    } = case.expected;
    let as_expected =
        lines == expected_lines && free_at == expected_at && end.as_deref() == expected_end;
    if !as_expected {
        eprintln!(
            "not as explained: {expected_lines} lines, free at {expected_at:?}, {expected_end:?}"
        );
    }
    Ok(as_expected)
}

/// What the error knows of the answer that it cut.
fn carried(error: &ToolError) -> String {
    match error.partial() {
        Some(partial) => format!(
            "it carries {} lines, {} of them delivered",
            partial.contents().len(),
            partial.delivered()
        ),
        None => "it carries nothing".to_owned(),
    }
}

/// When the one permit is free again.
async fn freed(permits: ConcurrencyLimitLayer, started: Instant) -> Duration {
    sleep(ms(1)).await;
    while permits.available() == 0 {
        sleep(ms(1)).await;
    }
    started.elapsed()
}
