//! What the order of two layers means: four pairs, each stacked both ways, under the same calls.
//!
//! ```text
//! cargo run --example orders
//! ```
//!
//! The clock is tokio's paused one, which moves on when every task waits: so it takes no time, and every number is
//! the same on any machine. It exits with 1 if one is not as explained.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

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

/// Runs the pairs; true if every number is as explained.
async fn orders() -> Result<bool, BoxError> {
    let pairs = [
        timeout_and_concurrency::run().await,
        rate_and_concurrency::run().await?,
        cleanup_and_retry::run().await?,
        timeout_and_retry::run().await,
    ];
    let mut as_explained = true;
    for pair in &pairs {
        println!("{pair}");
        for row in pair.wrong() {
            eprintln!("not as explained: {row}");
            as_explained = false;
        }
    }
    Ok(as_explained)
}
