//! Cleanup and retry: whether hooks run before the next attempt or after the call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CleanupLayer, Outcome, ServiceBuilderExt, ToolCall, ToolError,
    ToolOutput, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder};

use crate::calls::{Retries, make};
use crate::pair::{Pair, Row, millis};

const TAKES: Duration = Duration::from_millis(50);
const CLOSING_TAKES: Duration = Duration::from_millis(20);
/// The maximum wait for hooks, of a response or of an outer retry. Longer than they take.
const WAIT: Duration = Duration::from_secs(1);

/// The sessions of the attempts. A hook closes each of them.
#[derive(Debug, Default)]
struct Sessions {
    open: AtomicUsize,
    most: AtomicUsize,
    /// The time at which each session was closed, and the outcome passed to its hook.
    closed: Mutex<Vec<(Instant, Outcome)>>,
}

struct Observed {
    most_open: usize,
    outcomes: String,
    first_closed: Duration,
    hooks: u64,
}

pub(crate) async fn run() -> Result<Pair, BoxError> {
    let outside = |sessions, cleanup| {
        ServiceBuilder::new()
            .tool_cleanup(cleanup)
            .layer(RetryLayer::new(Retries(2)))
            .service(tool(sessions))
    };
    let inside = |sessions, cleanup| {
        ServiceBuilder::new()
            .layer(RetryLayer::new(Retries(2)))
            .tool_cleanup(cleanup)
            .service(tool(sessions))
    };
    let observed = [observe(outside).await?, observe(inside).await?];
    Ok(Pair {
        orders: ["cleanup outside of retry", "retry outside of cleanup"],
        scenario: "Cleanup and retry: each attempt opens a session that a hook closes, \
                   and the third attempt completes.",
        rows: vec![
            Row::new(
                "hooks run",
                observed.each_ref().map(|s| s.hooks),
                ["3", "3"],
            ),
            Row::new(
                "outcomes passed to hooks",
                observed.each_ref().map(|s| s.outcomes.clone()),
                [
                    "completed, completed, completed",
                    "failed, failed, completed",
                ],
            ),
            Row::new(
                "first session closed after",
                observed.each_ref().map(|s| millis(s.first_closed)),
                ["170 ms", "70 ms"],
            ),
            Row::new(
                "maximum of open sessions",
                observed.each_ref().map(|s| s.most_open),
                ["3", "1"],
            ),
        ],
        why: "Outside, the cleanup layer receives one call, which completes.\n\
              Inside, it receives each attempt. With `with_wait`, the next attempt starts after\n\
              the hooks have run.",
    })
}

async fn observe<S>(stack: impl Fn(Arc<Sessions>, CleanupLayer) -> S) -> Result<Observed, BoxError>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let sessions = Arc::<Sessions>::default();
    let cleanup = CleanupLayer::new().with_wait(WAIT);
    let start = Instant::now();
    make(&stack(Arc::clone(&sessions), cleanup.clone())).await;
    let hooks = cleanup.drain(WAIT).await.ran;

    let closed = sessions
        .closed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let outcomes: Vec<_> = closed.iter().map(|(_, outcome)| outcome.as_str()).collect();
    let (first, _) = closed.first().ok_or("no session was closed")?;
    Ok(Observed {
        most_open: sessions.most.load(Ordering::Acquire),
        outcomes: outcomes.join(", "),
        first_closed: first.duration_since(start),
        hooks,
    })
}

/// Makes a tool that opens a session and fails in its first two attempts.
fn tool(
    sessions: Arc<Sessions>,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {
    tool_fn("tool", move |call: CallContext, _: ()| {
        let sessions = Arc::clone(&sessions);
        async move {
            sessions.open();
            call.on_cleanup(move |outcome| async move {
                sleep(CLOSING_TAKES).await;
                sessions.close(outcome);
            });
            sleep(TAKES).await;
            match call.attempt() {
                1 | 2 => Err(ToolError::failed("the session broke").with_retryable(true)),
                _ => Ok("done"),
            }
        }
    })
}

// === impl Sessions ===

impl Sessions {
    fn open(&self) {
        let open = self.open.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(open, Ordering::AcqRel);
    }

    fn close(&self, outcome: Outcome) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.push((Instant::now(), outcome));
    }
}
