use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ends a streaming response besides its limit: the cancellation of its call, and the
/// interruption by its watch. Each occurs at most once.
pub(super) struct Signals(Vec<Signal>);

// === impl Signals ===

impl Signals {
    pub(super) fn new(cancelled: Option<CancellationToken>, interrupted: Option<Signal>) -> Self {
        let cancelled = cancelled.map(|token| Box::pin(token.cancelled_owned()) as Signal);
        Self(cancelled.into_iter().chain(interrupted).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the next signal, and removes it.
    ///
    /// # Cancel safety
    /// Safe: a signal is removed in the poll that returns.
    pub(super) async fn next(&mut self) {
        poll_fn(|cx| {
            let mut signals = self.0.iter_mut();
            match signals.position(|signal| signal.as_mut().poll(cx).is_ready()) {
                Some(at) => {
                    drop(self.0.swap_remove(at));
                    Poll::Ready(())
                }
                None => Poll::Pending,
            }
        })
        .await;
    }
}
