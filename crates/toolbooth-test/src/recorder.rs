use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use toolbooth_core::{Event, EventSink, Outcome};

use crate::clock::Stopwatch;
use crate::sync::lock;

/// Records values in order, each with the time since the recorder was created.
///
/// A `Recorder<Event>` makes a [sink](Recorder::sink) of events. A `Recorder<Outcome>`, or a
/// `Recorder<(L, Outcome)>` with a label for each, makes cleanup hooks that record the outcome of
/// their call:
///
/// ```
/// use toolbooth::{CleanupLayer, Outcome};
/// use toolbooth_test::{FastTool, Recorder, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let ended = Recorder::new();
/// let call = call("fast");
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
    /// Creates an empty recorder at time 0. Clones share the entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            watch: Stopwatch::start(),
            entries: Arc::default(),
        }
    }

    /// Records a value at the current time.
    pub fn record(&self, value: T) {
        lock(&self.entries).push((self.watch.elapsed(), value));
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the time of each value.
    #[must_use]
    pub fn times(&self) -> Vec<Duration> {
        lock(&self.entries).iter().map(|(at, _)| *at).collect()
    }

    /// Removes the recorded values and returns them.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let entries = std::mem::take(&mut *lock(&self.entries));
        entries.into_iter().map(|(_, value)| value).collect()
    }
}

impl<T: Clone> Recorder<T> {
    /// Returns the values in order.
    #[must_use]
    pub fn values(&self) -> Vec<T> {
        let entries = lock(&self.entries);
        entries.iter().map(|(_, value)| value.clone()).collect()
    }

    /// Returns the values in order, each with its time.
    #[must_use]
    pub fn entries(&self) -> Vec<(Duration, T)> {
        lock(&self.entries).clone()
    }
}

impl Recorder<Outcome> {
    /// Returns a cleanup hook that records the outcome of its call.
    pub fn hook(&self) -> impl FnOnce(Outcome) -> Ready<()> + Send + use<> {
        let recorder = self.clone();
        move |outcome| {
            recorder.record(outcome);
            ready(())
        }
    }
}

impl<L: Send + 'static> Recorder<(L, Outcome)> {
    /// Returns a cleanup hook that records the outcome of its call under a label.
    pub fn hook_for(&self, label: L) -> impl FnOnce(Outcome) -> Ready<()> + Send + use<L> {
        let recorder = self.clone();
        move |outcome| {
            recorder.record((label, outcome));
            ready(())
        }
    }
}

impl Recorder<Event> {
    /// Returns a sink that records events.
    ///
    /// ```
    /// use toolbooth::{Event, EventsLayer};
    /// use toolbooth_test::{FastTool, Recorder, call, call_all};
    /// use tower::Layer;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let events = Recorder::<Event>::new();
    /// call_all(EventsLayer::new(events.sink()).layer(FastTool::new()), [call("fast")]).await;
    /// assert_eq!(events.names(), ["tool.invoked", "tool.started", "tool.completed"]);
    /// # }
    /// ```
    #[must_use]
    pub fn sink(&self) -> impl EventSink + Clone + use<> {
        let recorder = self.clone();
        move |event: &Event| recorder.record(event.clone())
    }

    /// Returns the names of the events in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let entries = lock(&self.entries);
        entries.iter().map(|(_, event)| event.name()).collect()
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
