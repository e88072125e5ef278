use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use crate::sync::lock;

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
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let output = poll_fn(|cx| {
        *lock(&wakes.task) = Some(cx.waker().clone());
        future.as_mut().poll(&mut Context::from_waker(&waker))
    });
    (output.await, wakes.count.load(Ordering::SeqCst))
}

/// Counts wakes and forwards each to the task.
#[derive(Default)]
struct Wakes {
    count: AtomicUsize,
    task: Mutex<Option<Waker>>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let task = lock(&self.task).take();
        task.into_iter().for_each(Waker::wake);
    }
}
