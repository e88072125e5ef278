//! An outage of an API, without and with a circuit breaker.
//!
//! ```text
//! cargo run --example breaker
//! ```
//!
//! Five callers make one call a second for two minutes, with a timeout of 2 s. From 0:20 to 1:15
//! the API accepts calls and never responds. The same two minutes run without and with a breaker.
//!
//! Here the timeouts open the breaker. Errors and panics do as well, and the statuses of an HTTP or
//! gRPC service that are outages: see `Failures::http` and `Failures::grpc`.
//!
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! numbers are the same on every machine. It exits with 1 if a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

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

/// The outcomes of all calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcomes {
    completed: usize,
    timed_out: usize,
    rejected: usize,
    /// The total time that callers waited for calls that timed out.
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
    let (start, log) = (Instant::now(), Arc::clone(&changes));
    breaker.on_state_change(move |change| {
        if let Ok(mut log) = log.lock() {
            log.push((start.elapsed(), change.to));
        }
    });
    let with = two_minutes(breaker.clone()).await?;
    println!("with a breaker:    {with:?}\n");
    let changes = changes.lock().map_err(|poisoned| poisoned.to_string())?;
    for (at, state) in changes.iter() {
        let seconds = at.as_secs();
        println!("{}:{:02}  {state:?}", seconds / 60, seconds % 60);
    }

    // Without a breaker each call during the outage waits for 2 s.
    expect(
        "without a breaker",
        &without,
        &Outcomes {
            completed: 325,
            timed_out: 275,
            rejected: 0,
            waited: 275 * TIMEOUT,
        },
    )?;
    // With a breaker ten calls were in flight when the fifth timed out, and one probe timed out. In
    // return, calls are rejected from 1:15, the end of the outage, until the probe at 1:24.
    expect(
        "with a breaker",
        &with,
        &Outcomes {
            completed: 276,
            timed_out: 11,
            rejected: 313,
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
            // The probe completes.
            (at(84_050), BreakerState::Closed),
        ],
    )
}

async fn two_minutes(breaker: CircuitBreakerLayer) -> Result<Outcomes, BoxError> {
    let start = Instant::now();
    // The inner breaker counts the timeouts of the outer layer as well.
    let api = ServiceBuilder::new()
        .tool_timeout(TIMEOUT)
        .tool_circuit_breaker(breaker)
        .service(tool_fn("api", move |_: ()| async move {
            if DOWN.contains(&start.elapsed()) {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>("200")
        }));

    let mut calls = JoinSet::new();
    for second in 0..LASTS {
        sleep_until(start + SECOND * second).await;
        for _ in 0..CALLERS {
            let call = api.clone().oneshot(ToolCall::new("api", json!(null)));
            let made = Instant::now();
            calls.spawn(async move { (call.await, made.elapsed()) });
        }
    }
    let mut outcomes = Outcomes::default();
    while let Some(ended) = calls.join_next().await {
        let (result, waited) = ended?;
        match result.map_err(|error| (error.outcome(), error)) {
            Ok(_) => outcomes.completed += 1,
            Err((Outcome::TimedOut, _)) => outcomes.timed_out += 1,
            Err((Outcome::Rejected, error)) if error.retry_after() <= Some(30 * SECOND) => {
                outcomes.rejected += 1;
                assert_eq!(waited, Duration::ZERO);
                continue;
            }
            Err((_, error)) => return Err(error.into()),
        }
        if waited >= TIMEOUT {
            outcomes.waited += waited;
        }
    }
    Ok(outcomes)
}

fn expect<T>(what: &str, actual: &T, expected: &T) -> Result<(), BoxError>
where
    T: std::fmt::Debug + PartialEq + ?Sized,
{
    match actual == expected {
        true => Ok(()),
        false => Err(format!("{what}: {actual:?} instead of {expected:?}").into()),
    }
}
