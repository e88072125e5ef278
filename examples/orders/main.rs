//! The meaning of the order of two layers: four pairs in both orders, with the same calls.
//!
//! ```text
//! cargo run --example orders
//! ```
//!
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! numbers are the same on every machine. It exits with 1 if a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod calls;
mod cleanup_and_retry;
mod pair;
mod rate_and_concurrency;
mod timeout_and_concurrency;
mod timeout_and_retry;

use std::process::ExitCode;

use toolbooth::BoxError;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    match orders().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the pairs; returns whether all numbers are the expected ones.
async fn orders() -> Result<bool, BoxError> {
    let pairs = [
        timeout_and_concurrency::run().await,
        rate_and_concurrency::run().await?,
        cleanup_and_retry::run().await?,
        timeout_and_retry::run().await,
    ];
    let mut all_expected = true;
    for pair in &pairs {
        println!("{pair}");
        for row in pair.unexpected() {
            eprintln!("unexpected: {row}");
            all_expected = false;
        }
    }
    Ok(all_expected)
}
