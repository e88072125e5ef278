//! One stack, called so many times, for a profiler to count: `instructions <stack> <calls>`.
//!
//! `valgrind --tool=callgrind target/ratios/instructions three 10000` counts the instructions of 10,000 calls.

#![expect(clippy::print_stderr, reason = "it is a program that reports")]

#[path = "../stacks.rs"]
mod stacks;
#[path = "../tools.rs"]
mod tools;
#[path = "../waiting.rs"]
mod waiting;

use std::fmt::Debug;
use std::process::ExitCode;

use stacks::{call, five, resilience_three, three, tower_three};
use toolbooth::{
    CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer,
    TimeoutLayer,
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
        macro_rules! run {
            ($service:expr, $request:expr) => {
                calls($service, $request, count).await
            };
        }
        match stack.as_str() {
            "bare" => run!(AtOnce, || ()),
            "call" => run!(AtOnce, call),
            "three" => run!(three!(AtOnce), call),
            "five" => run!(five!(AtOnce), call),
            "tower_three" => run!(tower_three!(AtOnce), || ()),
            "resilience_three" => run!(resilience_three!(AtOnce), || ()),
            "pending_three" => run!(three!(YieldsOnce), call),
            "pending_tower_three" => run!(tower_three!(YieldsOnce), || ()),
            "timeout" => run!(TimeoutLayer::new(stacks::TIMEOUT).layer(AtOnce), call),
            "concurrency" => run!(ConcurrencyLimitLayer::new(1_000).layer(AtOnce), call),
            "rate" => run!(RateLimitLayer::new(stacks::quota()).layer(AtOnce), call),
            "breaker" => run!(CircuitBreakerLayer::new().layer(AtOnce), call),
            "breaker_rate" => run!(stacks::breaker().layer(AtOnce), call),
            "cleanup" => run!(CleanupLayer::new().layer(AtOnce), call),
            "partial" => run!(PartialResultLayer::new().layer(AtOnce), call),
            "queue" => waiting::all_by_priority(count).await,
            "queue_semaphore" => waiting::all_by_semaphore(count).await,
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
