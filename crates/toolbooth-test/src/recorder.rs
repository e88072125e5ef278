use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use toolbooth_core::Outcome;

use crate::clock::Stopwatch;
use crate::sync::lock;

/// Notes what happens, in order, with the time since it was made.
///
/// As a `Recorder<Outcome>`, or a `Recorder<(L, Outcome)>` with a label for each, it makes cleanup hooks that note
/// what they are told:
///
/// ```
/// use toolbooth::{CleanupLayer, Outcome, ToolCall};
/// use toolbooth_test::{FastTool, Recorder, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let ended = Recorder::new();
/// let call = ToolCall::new("fast", serde_json::json!(null));
/// call.context().on_cleanup(ended.hook_for("first"));
/// call.context().on_cleanup(ended.hook_for("second"));
///
/// let cleanup = CleanupLayer::new();
/// call_all(cleanup.layer(FastTool::new()), [call]).await;
/// cleanup.drain(ms(1_000)).await;
/// assert_eq!(
///     ended.values(),
///     [("second", Outcome::Completed), ("first", Outcome::Completed)]
/// );
/// assert_eq!(ended.times(), [ms(10), ms(10)]);
/// # }
/// ```
#[derive(Debug)]
pub struct Recorder<T> {
    watch: Stopwatch,
    entries: Arc<Mutex<Vec<(Duration, T)>>>,
}

// === impl Recorder ===

impl<T> Recorder<T> {
    /// Nothing noted, at time zero. Clones share the notes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            watch: Stopwatch::start(),
            entries: Arc::default(),
        }
    }

    /// Notes a value, now.
    pub fn record(&self, value: T) {
        lock(&self.entries).push((self.watch.elapsed(), value));
    }

    /// How many values were noted.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When each value was noted.
    #[must_use]
    pub fn times(&self) -> Vec<Duration> {
        lock(&self.entries).iter().map(|(at, _)| *at).collect()
    }
}

impl<T> Recorder<T> {
    /// Removes the recorded values and returns them.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let entries = std::mem::take(&mut *lock(&self.entries));
        entries.into_iter().map(|(_, value)| value).collect()
    }
}

impl<T: Clone> Recorder<T> {
    /// What was noted.
    #[must_use]
    pub fn values(&self) -> Vec<T> {
        let entries = lock(&self.entries);
        entries.iter().map(|(_, value)| value.clone()).collect()
    }

    /// What was noted, each with its time.
    #[must_use]
    pub fn entries(&self) -> Vec<(Duration, T)> {
        lock(&self.entries).clone()
    }
}

impl Recorder<Outcome> {
    /// A cleanup hook that notes the outcome it is told.
    pub fn hook(&self) -> impl FnOnce(Outcome) -> Ready<()> + Send + use<> {
        let recorder = self.clone();
        move |outcome| {
            recorder.record(outcome);
            ready(())
        }
    }
}

impl<L: Send + 'static> Recorder<(L, Outcome)> {
    /// A cleanup hook that notes the outcome it is told, under a label.
    pub fn hook_for(&self, label: L) -> impl FnOnce(Outcome) -> Ready<()> + Send + use<L> {
        let recorder = self.clone();
        move |outcome| {
            recorder.record((label, outcome));
            ready(())
        }
    }
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self {
            watch: self.watch,
            entries: Arc::clone(&self.entries),
        }
    }
}
