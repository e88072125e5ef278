//! Which failures a retry repeats, and when it gives up.
//!
//! ```text
//! cargo run --example retries
//! ```
//!
//! Each row is one call with up to three attempts. The tool of a row counts how often it starts.
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! numbers are the same on every machine. It exits with 1 if a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, RetryBudget, RetryPolicy, TimeoutLayer, ToolCall,
    ToolError, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

/// What the tool does when it starts.
#[derive(Clone, Copy)]
enum Does {
    /// It has its effect, and hangs.
    Hangs,
    /// It fails, and does not mark its error.
    Fails,
    /// It fails, and marks its error as retryable.
    FailsForNow,
    /// Its backend rejects it, with the time until it accepts calls again.
    IsRejected(Duration),
}

/// How one call went.
struct Row {
    failure: &'static str,
    starts: u32,
    took: Duration,
    error: Option<ToolError>,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("retries: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    use Does::{Fails, FailsForNow, Hangs, IsRejected};

    println!("{:<48} {:>6} {:>7}", "failure", "starts", "took");
    let (plain, day) = (ToolCall::new("mail", json!(null)), 86_400 * SECOND);
    let (safe, not_safe) = (
        plain.clone().with_idempotent(true),
        plain.clone().with_idempotent(false),
    );
    for (failure, does, call, starts, took) in [
        // The mail may be sent already.
        ("times out", Hangs, &plain, 1, SECOND),
        (
            "times out, the call is idempotent",
            Hangs,
            &safe,
            3,
            3 * SECOND,
        ),
        ("fails", Fails, &plain, 1, Duration::ZERO),
        (
            "fails, the call is idempotent",
            Fails,
            &safe,
            3,
            Duration::ZERO,
        ),
        ("fails for now", FailsForNow, &plain, 3, Duration::ZERO),
        (
            "fails for now, the call is not idempotent",
            FailsForNow,
            &not_safe,
            1,
            Duration::ZERO,
        ),
        (
            "rejected by its backend for 7 s",
            IsRejected(7 * SECOND),
            &plain,
            3,
            14 * SECOND,
        ),
        // Longer than the maximum of 60 s, so the caller receives the error at once.
        (
            "rejected by its backend for a day",
            IsRejected(day),
            &plain,
            1,
            Duration::ZERO,
        ),
    ] {
        let row = one_call(failure, does, call.clone()).await;
        row.print();
        expect(failure, &(row.starts, row.took), &(starts, took))?;
        let started = row.error.is_some_and(|error| error.started());
        expect("the tool had started", &started, &true)?;
    }
    let row = queued(not_safe).await?;
    row.print();
    expect(row.failure, &(row.starts, row.error.is_none()), &(1, true))?;

    println!("\nA hundred calls that fail for now, up to three attempts each:");
    for (budget, expected) in [(None, 300), (Some(RetryBudget::new(0.2, 2)?), 120)] {
        let name = match budget {
            Some(_) => "a budget of 2 retries a second",
            None => "no budget",
        };
        let starts = outage(budget).await;
        println!("  {starts} starts with {name}");
        expect(name, &starts, &expected)?;
    }
    Ok(())
}

/// A policy without backoff, so that the times of the table are round.
fn policy() -> RetryPolicy {
    RetryPolicy::new(3).with_backoff(Duration::ZERO, Duration::ZERO)
}

/// Makes a call of a tool that fails, with a timeout of 1 s for each attempt.
async fn one_call(failure: &'static str, does: Does, call: ToolCall) -> Row {
    let starts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&starts);
    let tool = tool_fn("mail", move |_: CallContext, _: ()| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            Err::<String, _>(match does {
                Does::Hangs => std::future::pending().await,
                Does::Fails => ToolError::failed("no such address"),
                Does::FailsForNow => ToolError::failed("try later").with_retryable(true),
                Does::IsRejected(wait) => ToolError::rate_limited(wait),
            })
        }
    });
    let tool = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(TimeoutLayer::new(SECOND))
        .service(tool);
    let start = Instant::now();
    let error = tool.oneshot(call).await.err();
    Row {
        failure,
        starts: starts.load(Ordering::Relaxed),
        took: start.elapsed(),
        error,
    }
}

/// Makes a call that waits in a queue while another one runs for 1.5 s. Its first attempt times
/// out there. It is repeated although it is not idempotent, since its tool had not started.
async fn queued(call: ToolCall) -> Result<Row, BoxError> {
    let limit = ConcurrencyLimitLayer::new(1);
    let other =
        ServiceBuilder::new()
            .layer(limit.clone())
            .service(tool_fn("report", async |_: ()| {
                sleep(3 * SECOND / 2).await;
                Ok::<_, BoxError>("42 rows")
            }));
    let other = tokio::spawn(other.oneshot(ToolCall::new("report", json!(null))));
    tokio::task::yield_now().await;

    let starts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&starts);
    let tool = tool_fn("mail", move |_: ()| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, BoxError>("sent") }
    });
    let tool = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(TimeoutLayer::new(SECOND))
        .layer(limit)
        .service(tool);
    let start = Instant::now();
    let error = tool.oneshot(call).await.err();
    let took = start.elapsed();
    other.await??;
    let failure = "times out in a queue, the call is not idempotent";
    let starts = starts.load(Ordering::Relaxed);
    Ok(Row {
        failure,
        starts,
        took,
        error,
    })
}

/// Makes a hundred calls of a tool that is down, and returns how often it started.
async fn outage(budget: Option<RetryBudget>) -> u32 {
    let starts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&starts);
    let tool = tool_fn("mail", move |_: ()| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err::<String, _>(ToolError::failed("down").with_retryable(true)) }
    });
    let policy = match budget {
        Some(budget) => policy().with_budget(budget),
        None => policy().without_budget(),
    };
    let tool = RetryLayer::new(policy).layer(tool);
    for _ in 0..100 {
        drop(
            tool.clone()
                .oneshot(ToolCall::new("mail", json!(null)))
                .await,
        );
    }
    starts.load(Ordering::Relaxed)
}

impl Row {
    fn print(&self) {
        let Self {
            failure,
            starts,
            took,
            ..
        } = self;
        println!("{failure:<48} {starts:>6} {:>5.1} s", took.as_secs_f32());
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), BoxError> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found:?} instead of {expected:?}").into()),
    }
}
