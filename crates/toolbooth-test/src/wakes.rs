use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts how often its waker is woken.
///
/// ```
/// use std::task::{Context, Waker};
///
/// use toolbooth_test::WakeCounter;
///
/// let wakes = WakeCounter::new();
/// let waker: Waker = wakes.waker();
/// assert_eq!(wakes.count(), 0);
/// Context::from_waker(&waker).waker().wake_by_ref();
/// assert_eq!(wakes.count(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct WakeCounter(Arc<Wakes>);

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

// === impl WakeCounter ===

impl WakeCounter {
    /// Creates a counter at 0. Clones share the count.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a waker that adds 1 each time it is woken.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Returns the number of wakeups so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::Acquire)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
