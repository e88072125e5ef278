use std::ops::AddAssign;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::{Outcome, ToolCall, ToolError, ToolOutput};
use tower::ServiceExt;

use super::changes::{tenant_name, tool_name};
use super::toolbox::{OUTCOMES, Outcomes, Stack, TENANTS, TOOLS, Task, Toolbox, index};

/// The calls that were made and their outcomes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) started: u64,
    pub(crate) outcomes: Outcomes,
}

/// Starts `at_once` calls about every `pace` until `until`, and waits for all of them.
pub(crate) async fn caller(
    toolbox: &Toolbox,
    seed: u64,
    (at_once, pace): (u32, Duration),
    until: Instant,
) -> Tally {
    let mut random = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut calls = JoinSet::new();
    while Instant::now() < until {
        sleep(pace.mul_f64(2.0 * random.f64())).await;
        for _ in 0..at_once {
            let (call, patience) = random_call(&mut random, toolbox);
            toolbox.observe(&call);
            calls.spawn(outcome(toolbox.stack.clone(), call, patience));
            tally.started += 1;
        }
        if random.u32(..50) == 0 {
            toolbox.limits.change(&mut random);
        }
        while let Some(ended) = calls.try_join_next() {
            tally.outcomes[index(ended.expect("panics are caught"))] += 1;
        }
    }
    while let Some(ended) = calls.join_next().await {
        tally.outcomes[index(ended.expect("panics are caught"))] += 1;
    }
    tally
}

fn random_call(random: &mut Rng, toolbox: &Toolbox) -> (ToolCall<Task>, Duration) {
    let scaled = |millis: u64| Duration::from_millis(millis) / toolbox.faster;
    // Most calls are short.
    let long = 10_u64.pow(random.u32(1..5));
    let after = scaled(random.u64(..=long));
    let task = match random.u32(..20) {
        0..=1 => Task::Fail(after),
        2 => Task::ReportFailure(after),
        3 => Task::Panic(after),
        4..=7 => Task::Stream {
            chunks: random.u32(..10),
            pause: after / 4,
        },
        8 => Task::Hang,
        _ => Task::Complete(after),
    };
    let patience = match random.u32(..10) {
        0 => scaled(random.u64(..2_000)),
        _ => Duration::MAX,
    };
    let call = ToolCall::new(tool_name(random.u64(..TOOLS)), task)
        .with_tenant(tenant_name(random.u64(..TENANTS)))
        .with_priority(random.i32(-1..=1));
    (call, patience)
}

/// Returns the outcome for a caller that drops the call after `patience`.
async fn outcome(stack: Stack, call: ToolCall<Task>, patience: Duration) -> Outcome {
    match timeout(patience, read(stack.oneshot(call))).await {
        Ok(Ok(is_error)) if is_error => Outcome::Failed,
        Ok(Ok(_)) => Outcome::Completed,
        Ok(Err(error)) => error.outcome(),
        Err(_) => Outcome::Cancelled,
    }
}

/// Reads a response to its end; returns whether it reports a failure.
async fn read(
    response: impl Future<Output = Result<ToolOutput, ToolError>>,
) -> Result<bool, ToolError> {
    let output = response.await?;
    let is_error = output.is_error();
    output.collect().await?;
    Ok(is_error)
}

// === impl Tally ===

impl Tally {
    pub(crate) fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    pub(crate) fn every_outcome_occurred(&self) -> bool {
        OUTCOMES
            .iter()
            .all(|outcome| self.outcomes[index(*outcome)] > 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.started += other.started;
        for (sum, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += more;
        }
    }
}
