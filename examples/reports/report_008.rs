use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use toolbooth::{
    BoxError, CallContext, CircuitBreakerLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, Quota,
    RateLimitLayer, SharedState, StateLayer, ToolCall, ToolError, tool_fn,
};
use toolbooth_test::{
    BoxTool, FailingTool, FastTool, Finished, Probe, RaceConditionTool, RateLimitedTool,
    ResourceIntensiveTool, boxed, call, call_all, count_kind, count_ok, last_ok, ms,
};
use tower::{Layer, ServiceExt};

use crate::table::Table;

pub(crate) async fn run(table: &mut Table) {
    sequential(table).await;
    parallel(table).await;
    high_concurrency(table).await;
    race_condition(table).await;
    rate_limit(table).await;
    cascading_failure(table).await;
    resource_exhaustion(table).await;
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// Returns how many calls completed, when the last one did, and how many ran at once.
fn summary(finished: &[Finished], probe: &Probe) -> String {
    let at = last_ok(finished).unwrap_or_default().as_millis();
    format!(
        "{} ok in {at} ms, {} at once",
        count_ok(finished),
        probe.max()
    )
}

async fn sequential(table: &mut Table) {
    let tool = FastTool::new();
    let mut finished = Vec::new();
    let mut takes = Duration::ZERO;
    for _ in 0..5 {
        let mut done = call_all(tool.clone(), calls(1)).await.remove(0);
        takes += done.at;
        done.at = takes;
        finished.push(done);
    }
    table.row(
        "sequential_5",
        "74.93 ms",
        summary(&finished, tool.probe()),
        "5 ok in 50 ms, 1 at once",
    );
}

/// Makes `count` calls of a tool of 10 ms behind a limit.
async fn fast(count: usize, limit: Option<usize>) -> String {
    let tool = FastTool::new();
    let stack = ConcurrencyLimitLayer::new(limit).layer(tool.clone());
    let finished = call_all(stack, calls(count)).await;
    summary(&finished, tool.probe())
}

async fn parallel(table: &mut Table) {
    let ten = fast(10, None).await;
    table.row("parallel_10", "14.17 ms", ten, "10 ok in 10 ms, 10 at once");
    let more = fast(25, None).await;
    table.row(
        "parallel_25",
        "14.18 ms",
        more,
        "25 ok in 10 ms, 25 at once",
    );
}

async fn high_concurrency(table: &mut Table) {
    table.row(
        "high_concurrency_50, no limit",
        "31.43 ms, 50 at once",
        fast(50, None).await,
        "50 ok in 10 ms, 50 at once",
    );
    table.row(
        "high_concurrency_50, limit 10",
        "there was no limit",
        fast(50, Some(10)).await,
        "50 ok in 50 ms, 10 at once",
    );
    table.row(
        "high_concurrency_100, no limit",
        "19.19 ms, 100 at once",
        fast(100, None).await,
        "100 ok in 10 ms, 100 at once",
    );
    table.row(
        "high_concurrency_100, limit 10",
        "there was no limit",
        fast(100, Some(10)).await,
        "100 ok in 100 ms, 10 at once",
    );
}

/// The first row is a control: locks of single tools around a counter of all lose updates.
async fn race_condition(table: &mut Table) {
    let first = RaceConditionTool::new();
    let tools: Vec<_> = (0..20)
        .map(|_| RaceConditionTool::sharing(&first))
        .collect();
    join_all(tools.into_iter().map(|tool| tool.oneshot(call("count")))).await;
    table.row(
        "race_condition_20, 20 locks",
        "9.54 ms, counter 1",
        format!("counter {}", first.count()),
        "counter 1",
    );
    let state = SharedState::new();
    let tool = tool_fn("count", async |call: CallContext, (): ()| {
        let state = call.extension::<SharedState>().ok_or("there is no state")?;
        Ok::<_, BoxError>(state.increment("counter", 1)?)
    });
    call_all(StateLayer::new(state.clone()).layer(tool), calls(20)).await;
    table.row(
        "race_condition_20, shared state",
        "there was no shared state",
        format!(
            "counter {}",
            state.get("counter").ok().flatten().unwrap_or(0_i64)
        ),
        "counter 20",
    );
    let tool = RaceConditionTool::new();
    call_all(tool.clone(), calls(20)).await;
    table.row(
        "race_condition_20, one lock",
        "not measured",
        format!("counter {}", tool.count()),
        "counter 20",
    );
}

async fn rate_limit(table: &mut Table) {
    let backend = RateLimitedTool::new();
    let finished = call_all(backend.clone(), calls(50)).await;
    table.row(
        "rate_limiting_50, no limit",
        "56.87 ms, 20 ok, 0 counted as limited",
        format!(
            "{} ok, {} rejected by the tool",
            count_ok(&finished),
            backend.rejections()
        ),
        "20 ok, 30 rejected by the tool",
    );
    let backend = RateLimitedTool::new();
    let ten = NonZeroU32::new(10).expect("10 is not 0");
    let limit = RateLimitLayer::new(Quota::per_second(ten)).reject();
    let finished = call_all(limit.layer(backend.clone()), calls(50)).await;
    let errors = finished
        .iter()
        .filter_map(|call| call.result.as_ref().err());
    let hints = errors.filter(|error| error.retry_after() == Some(ms(100)));
    table.row(
        "rate_limiting_50, 10 a second",
        "there was no limit",
        format!(
            "{} ok, {} rejected, {} to retry after 100 ms, {} by the tool",
            count_ok(&finished),
            count_kind(&finished, ErrorKind::RateLimited),
            hints.count(),
            backend.rejections(),
        ),
        "10 ok, 40 rejected, 40 to retry after 100 ms, 0 by the tool",
    );
}

/// Makes 20 calls one after the other.
async fn twenty(stack: BoxTool, tool: &FailingTool) -> String {
    let mut ends = [0; 3];
    for _ in 0..20 {
        let result = stack.clone().oneshot(call("api")).await;
        let outcome =
            result.map_or_else(|error| ToolError::outcome(&error), |_| Outcome::Completed);
        let end = match outcome {
            Outcome::Completed => 0,
            Outcome::Rejected => 2,
            _ => 1,
        };
        ends[end] += 1;
    }
    let [ok, failed, rejected] = ends;
    format!(
        "{ok} ok, {failed} failed, {rejected} rejected, {} calls of the tool",
        tool.calls()
    )
}

async fn cascading_failure(table: &mut Table) {
    let tool = FailingTool::new(14);
    table.row(
        "cascading_failure_20, no breaker",
        "0.0 ms, 14 ok, 6 failed",
        twenty(boxed(tool.clone()), &tool).await,
        "14 ok, 6 failed, 0 rejected, 20 calls of the tool",
    );
    let tool = FailingTool::new(14);
    let breaker = CircuitBreakerLayer::new();
    table.row(
        "cascading_failure_20, breaker",
        "there was no breaker",
        twenty(boxed(breaker.layer(tool.clone())), &tool).await,
        "14 ok, 5 failed, 1 rejected, 19 calls of the tool",
    );
}

async fn resource_exhaustion(table: &mut Table) {
    const KB: usize = 1_024;
    let run = async |budget: Option<usize>| {
        let tool = ResourceIntensiveTool::new(2_048 * KB, ms(50));
        let budget = ConcurrencyLimitLayer::new(budget).with_cost(|_| 2_048);
        let finished = call_all(budget.layer(tool.clone()), calls(5)).await;
        let peak = tool.peak_bytes() / KB;
        format!("{}, peak {peak} KB", summary(&finished, tool.probe()))
    };
    table.row(
        "resource_exhaustion_5, no limit",
        "68.61 ms, 5 of 5",
        run(None).await,
        "5 ok in 50 ms, 5 at once, peak 10240 KB",
    );
    table.row(
        "resource_exhaustion_5, 4096 KB",
        "there was no limit",
        run(Some(4_096)).await,
        "5 ok in 150 ms, 2 at once, peak 4096 KB",
    );
}
