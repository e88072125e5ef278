//! An API that goes down and comes back, and what a circuit breaker makes of it.
//!
//! ```text
//! cargo run --example breaker
//! ```
//!
//! Five callers ask once a second for two minutes; each gives up after 2 s. From 0:20 to 1:15 the API accepts calls and never
//! answers. The same two minutes run twice, without a breaker and with one, on tokio's paused clock: so it takes no time,
//! and every number is the same on any machine. It exits with 1 if one is not as explained.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use toolbooth::breaker::BreakerState;
use toolbooth::{BoxError, CircuitBreakerLayer, Outcome, ServiceBuilderExt, ToolCall, tool_fn};
use tower::{ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const CALLERS: u32 = 5;
const LASTS: u32 = 120;
const DOWN: std::ops::Range<Duration> = Duration::from_secs(20)..Duration::from_secs(75);
const TIMEOUT: Duration = Duration::from_secs(2);

/// What became of all calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    answered: usize,
    timed_out: usize,
    refused: usize,
    /// How long callers waited for calls that came to nothing.
    waited: Duration,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("breaker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    println!("Two minutes, 5 calls a second, down from 0:20 to 1:15, a timeout of 2 s.\n");
    let without = two_minutes(CircuitBreakerLayer::off()).await?;
    println!("without a breaker: {without:?}");

    let breaker = CircuitBreakerLayer::new();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let (began, told) = (Instant::now(), Arc::clone(&changes));
    breaker.on_state_change(move |change| {
        if let Ok(mut told) = told.lock() {
            told.push((began.elapsed(), change.to));
        }
    });
    let with = two_minutes(breaker.clone()).await?;
    println!("with a breaker:    {with:?}\n");
    let changes = changes.lock().map_err(|poisoned| poisoned.to_string())?;
    for (at, state) in changes.iter() {
        let seconds = at.as_secs();
        println!("{}:{:02}  {state:?}", seconds / 60, seconds % 60);
    }

    // Without: whoever calls while it is down waits 2 s for nothing.
    expect(
        "without a breaker",
        &without,
        &Seen {
            answered: 325,
            timed_out: 275,
            refused: 0,
            waited: 275 * TIMEOUT,
        },
    )?;
    // With: ten calls were on their way when the fifth of them timed out, and one probe found it down still. The price are calls
    // that are refused between 1:15, when it is back, and 1:24, when a probe finds that out.
    expect(
        "with a breaker",
        &with,
        &Seen {
            answered: 276,
            timed_out: 11,
            refused: 313,
            waited: 11 * TIMEOUT,
        },
    )?;
    let at = Duration::from_millis;
    expect(
        "changes",
        changes.as_slice(),
        &[
            (at(22_000), BreakerState::Open),
            (at(52_000), BreakerState::HalfOpen),
            (at(54_000), BreakerState::Open),
            (at(84_000), BreakerState::HalfOpen),
            // When the probe is answered.
            (at(84_050), BreakerState::Closed),
        ],
    )
}

async fn two_minutes(breaker: CircuitBreakerLayer) -> Result<Seen, BoxError> {
    let began = Instant::now();
    // The breaker is inside of the timeout, and sees the timeouts all the same.
    let api = ServiceBuilder::new()
        .tool_timeout(TIMEOUT)
        .tool_circuit_breaker(breaker)
        .service(tool_fn("api", move |_: ()| async move {
            if DOWN.contains(&began.elapsed()) {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>("200")
        }));

    let mut calls = JoinSet::new();
    for second in 0..LASTS {
        sleep_until(began + SECOND * second).await;
        for _ in 0..CALLERS {
            let call = api.clone().oneshot(ToolCall::new("api", json!(null)));
            let made = Instant::now();
            calls.spawn(async move { (call.await, made.elapsed()) });
        }
    }
    let mut seen = Seen::default();
    while let Some(ended) = calls.join_next().await {
        let (answer, waited) = ended?;
        match answer.map_err(|error| (error.outcome(), error)) {
            Ok(_) => seen.answered += 1,
            Err((Outcome::TimedOut, _)) => seen.timed_out += 1,
            Err((Outcome::Rejected, error)) if error.retry_after() <= Some(30 * SECOND) => {
                seen.refused += 1;
                assert_eq!(waited, Duration::ZERO);
                continue;
            }
            Err((_, error)) => return Err(error.into()),
        }
        if waited >= TIMEOUT {
            seen.waited += waited;
        }
    }
    Ok(seen)
}

fn expect<T>(what: &str, seen: &T, expected: &T) -> Result<(), BoxError>
where
    T: std::fmt::Debug + PartialEq + ?Sized,
{
    match seen == expected {
        true => Ok(()),
        false => Err(format!("{what}: {seen:?}, and not {expected:?}").into()),
    }
}
