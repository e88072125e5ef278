//! Calls one stack a number of times, for a profiler that counts: `instructions <stack> <calls>`.
//!
//! `valgrind --tool=callgrind target/ratios/instructions three 10000` counts the instructions of
//! 10,000 calls.

#![expect(clippy::print_stderr, reason = "it is a program that reports")]

use std::process::ExitCode;

use toolbooth::{
    CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer,
    TimeoutLayer,
};
use toolbooth_bench::stacks::{
    self, agent, barest_call, call, five, five_with_events_off, resilience_three, three,
    tower_three,
};
use toolbooth_bench::tools::{AtOnce, YieldsOnce};
use toolbooth_bench::{calls, storm, waiting};
use tower::Layer;

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
                calls(&mut $service, $request, count).await
            };
        }
        match stack.as_str() {
            "bare" => run!(AtOnce, || ()),
            "call" => run!(AtOnce, call),
            "call_barest" => run!(AtOnce, barest_call),
            "three" => run!(three(AtOnce), call),
            "three_barest" => run!(three(AtOnce), barest_call),
            "five" => run!(five(AtOnce), call),
            "five_events_off" => run!(five_with_events_off(AtOnce), call),
            "five_barest" => run!(five(AtOnce), barest_call),
            "agent" => run!(agent(AtOnce), call),
            "tower_three" => run!(tower_three(AtOnce), || ()),
            "resilience_three" => run!(resilience_three(AtOnce), || ()),
            "pending_three" => run!(three(YieldsOnce), call),
            "pending_tower_three" => run!(tower_three(YieldsOnce), || ()),
            "timeout" => run!(TimeoutLayer::new(stacks::TIMEOUT).layer(AtOnce), call),
            "concurrency" => run!(ConcurrencyLimitLayer::new(1_000).layer(AtOnce), call),
            "rate" => run!(RateLimitLayer::new(stacks::quota()).layer(AtOnce), call),
            "breaker" => run!(CircuitBreakerLayer::new().layer(AtOnce), call),
            "breaker_rate" => run!(stacks::breaker(AtOnce), call),
            "cleanup" => run!(CleanupLayer::new().layer(AtOnce), call),
            "partial" => run!(PartialResultLayer::new().layer(AtOnce), call),
            "storm" => storm::expire(count).await,
            "storm_tokio" => storm::expire_with_tokio(count).await,
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
