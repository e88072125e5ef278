//! Random stacks with injected faults, whose callers lose patience: the metrics add up.

use std::time::Duration;

use fastrand::Rng;
use futures_util::stream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use toolbooth::events::MetricsSink;
use toolbooth::{
    BoxError, BreakerPolicy, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer,
    ConcurrencyLimitLayer, Content, Outcome, PartialResultLayer, RateLimitLayer, RetryPolicy,
    SpawnLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use toolbooth_test::{BoxTool, FaultLayer, Faults, boxed, call, ms};
use toolbooth_tests::{Retries, quota, runtime};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceExt, service_fn};

use crate::recorded::Recorded;
use crate::sums::Tally;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Events,
    Timeout,
    Retry,
    ForeignRetry,
    Breaker,
    Rate,
    Concurrency,
    Cleanup,
    CatchPanic,
    Partial,
    Spawn,
}

const KINDS: [Kind; 11] = [
    Kind::Events,
    Kind::Timeout,
    Kind::Retry,
    Kind::ForeignRetry,
    Kind::Breaker,
    Kind::Rate,
    Kind::Concurrency,
    Kind::Cleanup,
    Kind::CatchPanic,
    Kind::Partial,
    Kind::Spawn,
];

/// A stack of some of the layers in a random order, and its events layer among them.
struct Stack {
    tool: BoxTool,
    order: Vec<Kind>,
    tally: Tally,
    recorded: Recorded,
}

// === impl Stack ===

impl Stack {
    fn random(random: &mut Rng) -> Self {
        let (sink, recorded) = Recorded::new();
        let tally = Tally::default();
        let mut order = KINDS.to_vec();
        random.shuffle(&mut order);
        order.retain(|kind| matches!(kind, Kind::Events) || random.u32(..4) > 0);
        let faults = Faults::new()
            .with_errors(0.2)
            .with_panics(0.05)
            .with_hangs(0.1)
            .with_broken_streams(0.2, 0..=3)
            .with_latency(0.5, ms(0)..=ms(60));
        let faults = FaultLayer::seeded(random.u64(..)).with_faults(faults);
        let mut tool = boxed(faults.layer(service_fn(respond)));
        for kind in order.iter().rev() {
            tool = around(*kind, &sink, &tally, tool);
        }
        Self {
            tool,
            order,
            tally,
            recorded,
        }
    }

    /// Makes `count` calls at random times, some of whose callers wait for at most `patience`. What
    /// hangs ends with its task, after `patience` twenty times.
    async fn run(&mut self, random: &mut Rng, count: usize, patience: Duration) {
        let mut calls = JoinSet::new();
        for number in 0..count {
            sleep(ms(random.u64(..6))).await;
            let call = call(["a", "b", "c"][number % 3]).with_idempotent(random.bool());
            let patience = match random.u32(..4) {
                0 => patience.mul_f64(random.f64()),
                _ => Duration::MAX,
            };
            let tool = self.tool.clone();
            calls.spawn(async move {
                let response = async { tool.oneshot(call).await?.collect().await };
                let _ = timeout(patience, response).await;
            });
        }
        sleep(20 * patience).await;
        calls.shutdown().await;
        // Streams, and calls on tasks of their own, end soon after.
        let all_end = async {
            while self.tally.open() > 0 {
                sleep(ms(1)).await;
            }
        };
        timeout(ms(60_000), all_end).await.expect("each call ends");
    }
}

fn around(kind: Kind, sink: &MetricsSink, tally: &Tally, tool: BoxTool) -> BoxTool {
    match kind {
        Kind::Events => boxed(tally.layer(sink).layer(tool)),
        Kind::Timeout => boxed(TimeoutLayer::new(ms(100)).with_grace(ms(5)).layer(tool)),
        Kind::Retry => boxed(RetryLayer::new(RetryPolicy::new(3)).layer(tool)),
        Kind::ForeignRetry => boxed(RetryLayer::new(Retries::new(1)).layer(tool)),
        Kind::Breaker => {
            let policy = BreakerPolicy::new().with_open_time(ms(20));
            let breaker = CircuitBreakerLayer::with_policy(policy).with_events(sink.clone());
            boxed(breaker.layer(tool))
        }
        Kind::Rate => boxed(RateLimitLayer::new(quota(200, 2)).layer(tool)),
        Kind::Concurrency => {
            let limit = ConcurrencyLimitLayer::new(2).with_queue_capacity(4);
            boxed(limit.layer(tool))
        }
        Kind::Cleanup => boxed(CleanupLayer::new().layer(tool)),
        Kind::CatchPanic => boxed(CatchPanicLayer::new().layer(tool)),
        Kind::Partial => boxed(PartialResultLayer::new().layer(tool)),
        Kind::Spawn => boxed(SpawnLayer::new().layer(tool)),
    }
}

async fn respond(call: ToolCall) -> Result<ToolOutput, BoxError> {
    call.context().on_cleanup(|_| sleep(ms(3)));
    call.context().emit("begun");
    sleep(ms(4)).await;
    match call.name() {
        "a" => Ok(ToolOutput::text("all of it")),
        "b" => Ok(ToolOutput::error("no")),
        _ => Ok(ToolOutput::stream(stream::iter(
            ["one", "two"].map(|text| Ok::<_, ToolError>(Content::from(text))),
        ))),
    }
}

#[test]
fn started_and_held_back_are_the_sum_of_outcomes_and_gauges_return_to_0() {
    let (mut seen, mut changed) = ([0; 6], 0);
    let outcomes = [
        Outcome::Completed,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Panicked,
    ];
    for seed in 0..200 {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let mut random = Rng::with_seed(seed);
        let mut stack = Stack::random(&mut random);
        runtime.block_on(stack.run(&mut random, 40, ms(100)));
        let case = format!("seed {seed}, {:?}", stack.order);
        stack.tally.assert_agrees(&mut stack.recorded, &case);
        // One state of the breaker, if it ever changed.
        let states = stack.recorded.all("breaker.state");
        changed += usize::from(!states.is_empty());
        let states = states.iter().filter(|(_, value)| *value != 0.0);
        let states: Vec<_> = states.map(|(_, value)| *value).collect();
        assert!(states.is_empty() || states == [1.0], "{case}: {states:?}");
        for (count, outcome) in seen.iter_mut().zip(outcomes) {
            *count += stack.tally.ended(outcome.as_str());
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert!(changed > 0);
}

#[test]
fn sums_hold_for_calls_on_two_threads() {
    let runtime = runtime(2);
    for seed in 0..8 {
        let mut random = Rng::with_seed(seed);
        let mut stack = Stack::random(&mut random);
        runtime.block_on(stack.run(&mut random, 100, ms(10)));
        let case = format!("seed {seed}, {:?}", stack.order);
        stack.tally.assert_agrees(&mut stack.recorded, &case);
    }
}
