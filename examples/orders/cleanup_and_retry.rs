//! Cleanup and a retry: are the hooks of an attempt run before the next one, or all at the end?

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

use crate::calls::{Again, make};
use crate::pair::{Pair, Row, shown};

const TAKES: Duration = Duration::from_millis(50);
const CLOSING_TAKES: Duration = Duration::from_millis(20);
/// How long an answer, and a retry outside, waits for hooks: longer than they take.
const WAIT: Duration = Duration::from_secs(1);

/// The sessions that attempts opened: each is closed by a hook.
#[derive(Debug, Default)]
struct Sessions {
    open: AtomicUsize,
    most: AtomicUsize,
    /// When each was closed, and what its hook was told.
    closed: Mutex<Vec<(Instant, Outcome)>>,
}

struct Seen {
    most_open: usize,
    told: String,
    first_closed: Duration,
    hooks: u64,
}

pub(crate) async fn run() -> Result<Pair, BoxError> {
    let outside = |sessions, cleanup| {
        ServiceBuilder::new()
            .tool_cleanup(cleanup)
            .layer(RetryLayer::new(Again(2)))
            .service(tool(sessions))
    };
    let inside = |sessions, cleanup| {
        ServiceBuilder::new()
            .layer(RetryLayer::new(Again(2)))
            .tool_cleanup(cleanup)
            .service(tool(sessions))
    };
    let seen = [look(outside).await?, look(inside).await?];
    Ok(Pair {
        orders: ["cleanup outside of retry", "retry outside of cleanup"],
        story: "Cleanup and retry: each attempt opens a session, which a hook closes; the third one answers.",
        rows: vec![
            Row::new("hooks run", seen.each_ref().map(|s| s.hooks), ["3", "3"]),
            Row::new(
                "they are told",
                seen.each_ref().map(|s| s.told.clone()),
                [
                    "completed, completed, completed",
                    "failed, failed, completed",
                ],
            ),
            Row::new(
                "the first session is closed after",
                seen.each_ref().map(|s| shown(s.first_closed)),
                ["170 ms", "70 ms"],
            ),
            Row::new(
                "sessions open at most",
                seen.each_ref().map(|s| s.most_open),
                ["3", "1"],
            ),
        ],
        why: "Outside, the cleanup layer sees one call, which ends once and well.\n\
              Inside, it sees each attempt, and `with_wait` lets the next one begin when the hooks are done.",
    })
}

async fn look<S>(stack: impl Fn(Arc<Sessions>, CleanupLayer) -> S) -> Result<Seen, BoxError>
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
    let told: Vec<_> = closed.iter().map(|(_, outcome)| outcome.as_str()).collect();
    let (first, _) = closed.first().ok_or("no session was closed")?;
    Ok(Seen {
        most_open: sessions.most.load(Ordering::Acquire),
        told: told.join(", "),
        first_closed: first.duration_since(start),
        hooks,
    })
}

/// Opens a session, works, and fails in its first two attempts.
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
