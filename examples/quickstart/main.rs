//! Five real tools behind one stack of five layers: about 60 calls at once, some of which time out,
//! fail or are rejected, a table of their outcomes, and a page that shows where the time went.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! It runs on any unix, takes a few seconds, and needs no network but loopback. It exits with 1 if
//! a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod api;
mod calls;
mod child;
mod children;
mod expectations;
mod progress;
mod record;
mod repository;
mod table;
mod timeline;
mod tools;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use governor::Quota;
use toolbooth::{
    BoxError, CleanupLayer, ConcurrencyLimitLayer, EventsLayer, PartialResultLayer, PerTool,
    RateLimitLayer, TimeoutLayer,
};
use toolbooth_timeline::Recorder;
use tower::{Layer, ServiceBuilder};

use crate::api::Api;
use crate::children::Children;
use crate::expectations::Totals;
use crate::tools::Toolbox;

/// The rate of calls to the API, per second. The API rejects the 11th call in any second. With this
/// rate and burst at most 9 calls start in any second. On a busy machine a call may arrive in the
/// second after it started.
const API_RATE: NonZeroU32 = NonZeroU32::new(7).expect("not 0");
const API_BURST: NonZeroU32 = NonZeroU32::new(2).expect("not 0");

/// The rate of the whole stack, higher than these calls need.
const RATE: NonZeroU32 = NonZeroU32::new(1_000).expect("not 0");

/// The number of concurrent calls. Further calls are queued.
const AT_ONCE: usize = 36;

fn main() -> ExitCode {
    // Two of the tools run a child process: this program again, with a special first argument. So
    // the example depends on no other program.
    if let Some(code) = child::main(std::env::args().skip(1)) {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let as_expected = match runtime {
        Ok(runtime) => runtime.block_on(quickstart()),
        Err(error) => Err(error.into()),
    };
    match as_expected {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the calls; returns whether all numbers are the expected ones.
async fn quickstart() -> Result<bool, BoxError> {
    let api = Api::start()?;
    let children = Children::new()?;

    // The rate limit of the API wraps one tool, inside of the stack. So a call that waits for its
    // token holds a permit of the stack. A rate limit per tool outside of the concurrency limit
    // would avoid that.
    let api_rate = RateLimitLayer::new(Quota::per_second(API_RATE).allow_burst(API_BURST));
    let toolbox = Toolbox::new()
        .with("search", tools::search(&children)?)
        .with("ticker", tools::ticker(&children)?)
        .with("lookup", api_rate.layer(tools::lookup(api.address())))
        .with("digest", tools::digest())
        .with("import", tools::import());

    // The first layer is the outermost. A clone of a layer value is the handle to read its state.
    let limits = PerTool::new(Duration::from_secs(10)).with("ticker", Duration::from_secs(2));
    let at_once = ConcurrencyLimitLayer::new(AT_ONCE);
    let cleanup = CleanupLayer::new();
    let recorder = Recorder::new().with_contents();
    let stack = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
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
    println!("{}", expectations::summary(&calls, &totals));
    println!("{}", timeline::write(&recorder.snapshot())?);
    let failed = expectations::failed(&calls, &totals);
    for text in &failed {
        eprintln!("unexpected: {text}");
    }
    Ok(failed.is_empty())
}
