use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// Counts how many calls are inside a tool, or how many guards of anything else are alive.
///
/// Enter it inside the tool: a count around the stack includes the calls that wait in a queue. A
/// guard counts as finished when it is dropped, on success, error, panic and cancellation alike.
///
/// ```
/// use toolbooth::{ConcurrencyLimitLayer, tool_fn};
/// use toolbooth_test::{Probe, call, call_all, ms};
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
/// let calls = (0..100).map(|_| call("query"));
/// call_all(tool, calls).await;
///
/// assert_eq!((probe.max(), probe.running()), (10, 0));
/// assert_eq!((probe.started(), probe.finished()), (100, 100));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Mutex<Counts>>);

/// The guard that [`Probe::enter`] returns: it leaves the probe when dropped.
#[derive(Debug)]
#[must_use = "dropping it leaves the probe"]
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
    /// Creates a probe with all counts at 0. Clones share the counts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more as started and running, until the guard is dropped.
    pub fn enter(&self) -> Inside {
        let mut counts = lock(&self.0);
        counts.started += 1;
        counts.running += 1;
        counts.max = counts.max.max(counts.running);
        Inside(self.clone())
    }

    /// Returns the number of guards that are alive.
    #[must_use]
    pub fn running(&self) -> usize {
        self.counts().running
    }

    /// Returns the highest number of guards that were alive at the same time.
    #[must_use]
    pub fn max(&self) -> usize {
        self.counts().max
    }

    /// Returns the number of guards that were made.
    #[must_use]
    pub fn started(&self) -> usize {
        self.counts().started
    }

    /// Returns the number of guards that were dropped.
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
