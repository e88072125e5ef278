//! Five real tools behind one stack of five layers: about 60 calls at once, some of which are cut
//! short, fail or are refused; then what became of each, counted.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! It needs no network but loopback, and takes a few seconds, on any unix. It exits with 1 if a number is not as promised.

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

mod api;
mod calls;
mod child;
mod children;
mod progress;
mod promises;
mod record;
mod repository;
mod table;
mod tools;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use governor::Quota;
use toolbooth::{
    BoxError, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, PerTool, RateLimitLayer,
    TimeoutLayer,
};
use tower::{Layer, ServiceBuilder};

use crate::api::Api;
use crate::children::Children;
use crate::promises::Totals;
use crate::tools::Toolbox;

/// How often the API may be called in a second. It refuses the 11th call in any second; of calls
/// that start at this rate with this burst, no second holds more than 9. One more could come too
/// late for the second that it started in, on a machine that is busy.
const API_RATE: NonZeroU32 = NonZeroU32::new(7).expect("not 0");
const API_BURST: NonZeroU32 = NonZeroU32::new(2).expect("not 0");

/// What the stack as a whole lets through: more than is asked of it here.
const RATE: NonZeroU32 = NonZeroU32::new(1_000).expect("not 0");

/// How many calls run at once; the others wait in line.
const AT_ONCE: usize = 36;

fn main() -> ExitCode {
    // Two of the tools run a child process. A fresh machine has no program that could be counted
    // on, so the child is this program again, with a first argument that says so.
    if let Some(code) = child::main(std::env::args().skip(1)) {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let kept = match runtime {
        Ok(runtime) => runtime.block_on(quickstart()),
        Err(error) => Err(error.into()),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the calls; true if every number is as promised.
async fn quickstart() -> Result<bool, BoxError> {
    let api = Api::start()?;
    let children = Children::new()?;

    // The API's own limit stands around that one tool, inside the stack, so a call that waits for
    // its token holds a permit of the stack meanwhile. (A rate limit that knows tools apart would
    // stand outside of the concurrency limit, and the call would hold nothing.)
    let api_rate = RateLimitLayer::new(Quota::per_second(API_RATE).allow_burst(API_BURST));
    let toolbox = Toolbox::new()
        .with("search", tools::search(&children)?)
        .with("ticker", tools::ticker(&children)?)
        .with("lookup", api_rate.layer(tools::lookup(api.address())))
        .with("digest", tools::digest())
        .with("import", tools::import());

    // The first of these is the outermost. A layer value is the handle by which it is read later.
    let limits = PerTool::new(Duration::from_secs(10)).with("ticker", Duration::from_secs(2));
    let at_once = ConcurrencyLimitLayer::new(AT_ONCE);
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(limits))
        .layer(RateLimitLayer::new(Quota::per_second(RATE)))
        .layer(at_once.clone())
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(toolbox);

    let calls = calls::make(&stack, &at_once, &api_rate).await?;

    let totals = Totals {
        hooks: cleanup.drain(Duration::from_secs(5)).await,
        children: children.count()?,
        api: api.stop()?,
    };
    println!("{}", table::examples(&calls));
    println!("{}", table::by_tool(&calls));
    println!("{}", promises::line(&calls, &totals));
    let broken = promises::broken(&calls, &totals);
    for promise in &broken {
        eprintln!("not as promised: {promise}");
    }
    Ok(broken.is_empty())
}
