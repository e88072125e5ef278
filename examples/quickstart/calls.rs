//! The calls, and their results.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use toolbooth::{
    Collected, ConcurrencyLimitLayer, Outcome, RateLimitLayer, ToolCall, ToolError, ToolOutput,
};
use tower::{Service, ServiceExt};

use crate::progress::Progress;
use crate::record::Record;

pub(crate) const SEARCHES: usize = 12;
pub(crate) const TICKERS: usize = 8;
pub(crate) const LOOKUPS: usize = 18;
/// Lookups whose timeout is shorter than their wait for a token.
pub(crate) const HURRIED: usize = 2;
pub(crate) const DIGESTS: usize = 12;
pub(crate) const IMPORTS: usize = 8;

const PATTERNS: [&str; 6] = [
    "poll_ready",
    "Duration",
    "# Clone",
    "waker",
    "unsafe",
    "ToolError",
];
const EXTENSIONS: [&str; 3] = ["rs", "toml", "md"];

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) tool: &'static str,
    pub(crate) took: Duration,
    pub(crate) result: Result<Collected, ToolError>,
    pub(crate) record: Arc<Record>,
}

/// Makes all calls at once, and prints their progress.
pub(crate) async fn make<S>(
    stack: &S,
    at_once: &ConcurrencyLimitLayer,
    api_rate: &RateLimitLayer,
) -> Result<Vec<Done>, tokio::task::JoinError>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let mut running = JoinSet::new();
    for (tool, args) in planned() {
        running.spawn(one(stack.clone(), tool, ToolCall::new(tool, args)));
    }
    for file in 0..HURRIED {
        let (stack, at_once, api_rate) = (stack.clone(), at_once.clone(), api_rate.clone());
        running.spawn(async move {
            busy(&at_once, &api_rate).await;
            let call = ToolCall::new("lookup", json!({ "file": file }))
                .with_timeout(Duration::from_millis(250));
            one(stack, "lookup", call).await
        });
    }

    let total = running.len();
    let progress = Progress::new(total);
    let mut done = Vec::with_capacity(total);
    let mut tick = interval(Duration::from_millis(100));
    while done.len() < total {
        tokio::select! {
            Some(finished) = running.join_next() => done.push(finished?),
            _ = tick.tick() => progress.show(done.len(), at_once, api_rate),
        }
    }
    progress.finish();
    Ok(done)
}

/// Returns all calls but the hurried ones, in a mixed order.
fn planned() -> Vec<(&'static str, Value)> {
    let most = [SEARCHES, TICKERS, LOOKUPS, DIGESTS, IMPORTS];
    let mut calls = Vec::new();
    for n in 0..most.into_iter().max().unwrap_or_default() {
        let kinds = [
            ("lookup", LOOKUPS, json!({ "file": n })),
            ("ticker", TICKERS, Value::Null),
            (
                "search",
                SEARCHES,
                json!({ "pattern": PATTERNS[n % PATTERNS.len()] }),
            ),
            (
                "digest",
                DIGESTS,
                json!({ "extension": EXTENSIONS[n % EXTENSIONS.len()] }),
            ),
            ("import", IMPORTS, json!({ "number": n })),
        ];
        let due = kinds.into_iter().filter(|(_, count, _)| n < *count);
        calls.extend(due.map(|(tool, _, args)| (tool, args)));
    }
    calls
}

/// Makes one call.
async fn one<S>(stack: S, tool: &'static str, call: ToolCall) -> Done
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let record = Arc::new(Record::default());
    let call = call.with_extension(Arc::clone(&record));
    // The caller's hook is the first, so it runs after all other hooks of the call.
    let ended = Arc::clone(&record);
    record.on_cleanup(call.context(), async move |outcome| {
        ended.set_outcome(outcome);
    });

    let start = Instant::now();
    let result = match stack.oneshot(call).await {
        Ok(output) => output.collect().await,
        Err(error) => Err(error),
    };
    Done {
        tool,
        took: start.elapsed(),
        result,
        record,
    }
}

/// Waits until a lookup would wait about half a second for a token, but not for a permit.
async fn busy(at_once: &ConcurrencyLimitLayer, api_rate: &RateLimitLayer) {
    let busy = async {
        while api_rate.queued() < 4 || at_once.available() < HURRIED {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // On a timeout, the check of the numbers fails.
    let _ = timeout(Duration::from_secs(5), busy).await;
}

// === impl Done ===

impl Done {
    /// Returns the outcome of the call, as its caller received it.
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(response) if response.is_error() => Outcome::Failed,
            Ok(_) => Outcome::Completed,
            Err(error) => error.outcome(),
        }
    }

    /// Returns the number of items in the partial result of the error, if there is one.
    pub(crate) fn partial_items(&self) -> Option<usize> {
        let partial = self.result.as_ref().err()?.partial()?;
        Some(partial.contents().len())
    }

    /// Returns whether each hook of the call ran, with the outcome that the caller received.
    pub(crate) fn is_cleaned_up(&self) -> bool {
        self.record.hooks_run() == self.record.hooks_registered()
            && self.record.outcome() == Some(self.outcome())
    }
}
