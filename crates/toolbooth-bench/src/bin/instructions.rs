//! One stack, called so many times, for a profiler to count: `instructions <stack> <calls>`.
//!
//! `valgrind --tool=callgrind target/ratios/instructions three 10000` counts the instructions of 10,000 calls.

#![expect(clippy::print_stderr, reason = "it is a program that reports")]

#[path = "../stacks.rs"]
mod stacks;
#[path = "../tools.rs"]
mod tools;

use std::fmt::Debug;
use std::process::ExitCode;

use stacks::{call, five, resilience_three, three, tower_three};
use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer, TimeoutLayer,
};
use tools::{AtOnce, YieldsOnce};
use tower::{Layer, Service, ServiceExt};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let stack = arguments.next().unwrap_or_default();
    let count = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(async {
        match stack.as_str() {
            "bare" => calls(AtOnce, || (), count).await,
            "three" => calls(three!(AtOnce), call, count).await,
            "five" => calls(five!(AtOnce), call, count).await,
            "tower_three" => calls(tower_three!(AtOnce), || (), count).await,
            "resilience_three" => calls(resilience_three!(AtOnce), || (), count).await,
            "pending_three" => calls(three!(YieldsOnce), call, count).await,
            "pending_tower_three" => calls(tower_three!(YieldsOnce), || (), count).await,
            "timeout" => {
                calls(
                    TimeoutLayer::new(stacks::TIMEOUT).layer(AtOnce),
                    call,
                    count,
                )
                .await
            }
            "concurrency" => {
                calls(
                    ConcurrencyLimitLayer::new(stacks::CONCURRENT).layer(AtOnce),
                    call,
                    count,
                )
                .await
            }
            "rate" => {
                calls(
                    RateLimitLayer::new(stacks::quota()).layer(AtOnce),
                    call,
                    count,
                )
                .await
            }
            "cleanup" => calls(CleanupLayer::new().layer(AtOnce), call, count).await,
            "partial" => calls(PartialResultLayer::new().layer(AtOnce), call, count).await,
            "call" => calls(AtOnce, call, count).await,
            other => {
                eprintln!("no stack named `{other}`");
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    })
}

async fn calls<R, S>(mut service: S, request: impl Fn() -> R, count: u32)
where
    S: Service<R>,
    S::Error: Debug,
{
    for _ in 0..count {
        let ready = service.ready().await.expect("nothing fails here");
        ready.call(request()).await.expect("nothing fails here");
    }
}
