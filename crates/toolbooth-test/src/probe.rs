use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// Counts who is inside: of a tool, of a resource, of anything that is entered and left.
///
/// What a limit admits is seen only from inside the tool: a count around the stack includes those who wait.
/// Leaving is counted when the guard is dropped, however that comes about.
///
/// ```
/// use toolbooth::{ConcurrencyLimitLayer, ToolCall, tool_fn};
/// use toolbooth_test::{Probe, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let probe = Probe::new();
/// let inside = probe.clone();
/// let tool = tool_fn("query", move |_: ()| {
///     let inside = inside.enter();
///     async move {
///         tokio::time::sleep(ms(10)).await;
///         drop(inside);
///         Ok::<_, std::io::Error>("42 rows")
///     }
/// });
/// let tool = ConcurrencyLimitLayer::new(10).layer(tool);
/// let calls = (0..100).map(|_| ToolCall::new("query", serde_json::json!(null)));
/// call_all(tool, calls).await;
///
/// assert_eq!((probe.max(), probe.running()), (10, 0));
/// assert_eq!((probe.started(), probe.finished()), (100, 100));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Mutex<Counts>>);

/// Somebody who is inside; leaves when dropped.
#[derive(Debug)]
#[must_use = "dropping it leaves"]
pub struct Inside(Probe);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    running: usize,
    max: usize,
    started: usize,
    finished: usize,
}

// === impl Probe ===

impl Probe {
    /// A probe that nobody has entered yet. Clones share the counts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters.
    pub fn enter(&self) -> Inside {
        let mut counts = lock(&self.0);
        counts.started += 1;
        counts.running += 1;
        counts.max = counts.max.max(counts.running);
        Inside(self.clone())
    }

    /// How many are inside.
    #[must_use]
    pub fn running(&self) -> usize {
        self.counts().running
    }

    /// The most that were inside at the same time.
    #[must_use]
    pub fn max(&self) -> usize {
        self.counts().max
    }

    /// How many have entered.
    #[must_use]
    pub fn started(&self) -> usize {
        self.counts().started
    }

    /// How many have left: returned, failed, panicked or dropped.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.counts().finished
    }

    fn counts(&self) -> Counts {
        *lock(&self.0)
    }
}

// === impl Inside ===

impl Drop for Inside {
    fn drop(&mut self) {
        let mut counts = lock(&self.0.0);
        counts.running -= 1;
        counts.finished += 1;
    }
}
