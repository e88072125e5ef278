use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use crate::sync::lock;

/// Counts how often its waker is woken. To run a whole future, use [`count_wakes`].
///
/// ```
/// use std::task::Context;
///
/// use toolbooth_test::WakeCounter;
/// use tokio::sync::oneshot;
///
/// let wakes = WakeCounter::new();
/// let (sender, receiver) = oneshot::channel();
/// let mut receiver = std::pin::pin!(receiver);
/// assert!(receiver.as_mut().poll(&mut Context::from_waker(&wakes.waker())).is_pending());
/// assert_eq!(wakes.count(), 0);
/// assert_eq!(sender.send("done"), Ok(()));
/// assert_eq!(wakes.count(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct WakeCounter(Arc<Wakes>);

/// Counts wakes and forwards each to the task, if there is one.
#[derive(Debug, Default)]
struct Wakes {
    count: AtomicUsize,
    task: Mutex<Option<Waker>>,
}

/// Runs a future to its end and counts how often its waker was called.
///
/// ```
/// use toolbooth_test::{count_wakes, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let ((), wakes) = count_wakes(tokio::time::sleep(ms(100))).await;
/// assert_eq!(wakes, 1);
/// # }
/// ```
pub async fn count_wakes<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let wakes = WakeCounter::new();
    let waker = wakes.waker();
    let output = poll_fn(|cx| {
        *lock(&wakes.0.task) = Some(cx.waker().clone());
        future.as_mut().poll(&mut Context::from_waker(&waker))
    });
    (output.await, wakes.count())
}

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
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let task = lock(&self.task).take();
        task.into_iter().for_each(Waker::wake);
    }
}
