//! A streaming response with a task beside it that ends it at a limit or at a signal.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::signals::Signals;
use super::{Items, Pair, interrupt};
use crate::error::ToolError;
use crate::seam::Watch;
use crate::sync::lock;

/// The consumer's end. Dropping it ends the pair and the task.
pub(super) struct Shared<P: Items, W: Watch> {
    inner: Arc<Inner<P, W>>,
    task: AbortHandle,
}

struct Inner<P: Items, W: Watch> {
    state: Mutex<State<P, W>>,
    /// Notified when the consumer has released the lock: the task never blocks on it.
    released: Notify,
}

struct State<P: Items, W: Watch> {
    pair: Option<Pin<Box<Pair<P, W>>>>,
    /// An item that was ready when the task ended the response.
    item: Option<P::Item>,
    consumer: Option<Waker>,
    /// Whether the consumer waits: it has polled since the last item, and got none.
    waiting: bool,
}

/// The resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

// === impl Shared ===

impl<P: Items + Send + 'static, W: Watch> Shared<P, W> {
    /// Ends the response when its watch expires, and at each of the `signals`.
    pub(super) fn new(pair: Pair<P, W>, runtime: &Handle, signals: Signals) -> Self {
        let inner = Inner::new(pair);
        let ends = Arc::clone(&inner).end_in_time(signals);
        let task = runtime.spawn(ends.in_current_span());
        Self {
            inner,
            task: task.abort_handle(),
        }
    }

    pub(super) fn poll_item(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        let polled = lock(&self.inner.state).poll_item(cx);
        self.inner.released.notify_one();
        polled
    }
}

impl<P: Items, W: Watch> Shared<P, W> {
    /// Looks at the source. An item that is ready for the consumer comes before the source's next.
    pub(super) fn peek<T>(&self, look: impl FnOnce(Option<&P>) -> T) -> T {
        let state = lock(&self.inner.state);
        let pair = state.pair.as_ref().filter(|_| state.item.is_none());
        let seen = look(pair.and_then(|pair| pair.source.as_ref()));
        drop(state);
        self.inner.released.notify_one();
        seen
    }
}

impl<P: Items, W: Watch> Drop for Shared<P, W> {
    fn drop(&mut self) {
        self.task.abort();
        let pair = lock(&self.inner.state).pair.take();
        drop(pair);
    }
}

// === impl Inner ===

impl<P: Items, W: Watch> Inner<P, W> {
    fn new(pair: Pair<P, W>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                pair: Some(Box::pin(pair)),
                item: None,
                consumer: None,
                waiting: false,
            }),
            released: Notify::new(),
        })
    }

    /// The task. The limit may move while it sleeps: then it sleeps on.
    async fn end_in_time(self: Arc<Self>, mut signals: Signals) {
        let mut next = self.locked(|state| state.expires_at()).await;
        loop {
            let signalled = match next {
                Some(at) => timeout_at(at, signals.next()).await.is_ok(),
                None if signals.is_empty() => return,
                None => {
                    signals.next().await;
                    true
                }
            };
            let (consumer, is_over);
            (consumer, next, is_over) = self.locked(|state| state.end_if_due(signalled)).await;
            consumer.into_iter().for_each(Waker::wake);
            if is_over {
                return;
            }
        }
    }

    /// Runs `change` under the lock. While the consumer has the lock, waits until it releases it.
    /// A release between the two is not lost: `notify_one` stores it for `notified`.
    async fn locked<T>(&self, change: impl FnOnce(&mut State<P, W>) -> T) -> T {
        loop {
            if let Some(mut state) = self.try_lock() {
                return change(&mut state);
            }
            self.released.notified().await;
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State<P, W>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

// === impl State ===

impl<P: Items, W: Watch> State<P, W> {
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<P::Item, ToolError>>> {
        if let Some(item) = self.item.take() {
            return Poll::Ready(Some(Ok(item)));
        }
        let Some(pair) = &mut self.pair else {
            return Poll::Ready(None);
        };
        let polled = pair.as_mut().poll_item(cx);
        self.waiting = polled.is_pending();
        if polled.is_pending() {
            match &mut self.consumer {
                Some(consumer) => consumer.clone_from(cx.waker()),
                consumer => *consumer = Some(cx.waker().clone()),
            }
        }
        polled
    }

    fn expires_at(&self) -> Option<Instant> {
        self.pair.as_ref()?.watch.as_ref()?.expires_at()
    }

    /// Ends the response if its limit has expired or it was signalled. Returns the consumer to
    /// wake, the next limit, and whether the response is over.
    fn end_if_due(&mut self, signalled: bool) -> (Option<Waker>, Option<Instant>, bool) {
        let now = Instant::now();
        let mut next = self.expires_at();
        let mut consumer = None;
        if signalled || next.is_some_and(|at| at <= now) {
            self.deliver_last_item();
            // It finds the item or the error. If neither, it polls the source again, which was
            // polled without its waker.
            consumer = self.consumer.take();
            // At least a tick later, also for a watch that does not end at its limit.
            next = self.expires_at().map(|at| at.max(now + TICK));
        }
        let pair = self.pair.as_ref();
        let is_over = pair.is_none_or(|pair| pair.watch.is_none());
        (consumer, next, is_over)
    }

    /// Delivers an item that is ready at the limit, then ends the response. A panic has no caller
    /// to propagate to here, and becomes the error.
    fn deliver_last_item(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut cx = Context::from_waker(Waker::noop());
        if self.item.is_some() {
            // The consumer has not polled for the one before.
            return self.interrupt(&mut cx);
        }
        let Some(pair) = &mut self.pair else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| pair.as_mut().poll_source(&mut cx)));
        let polled = match polled {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))),
        };
        if polled.is_pending() {
            return self.interrupt(&mut cx);
        }
        let complete = pair.source.as_ref().is_some_and(P::is_complete);
        let unasked = !waiting && !complete && matches!(polled, Poll::Ready(Some(Ok(_))));
        // Before the watch sees the item: the consumer did not wait, so it is no activity.
        let error = match unasked {
            true => interrupt(pair.as_mut(), &mut cx),
            false => None,
        };
        match pair.as_mut().caught(|pair| pair.polled(polled, &mut cx)) {
            Poll::Ready(Some(Ok(item))) => self.item = Some(item),
            Poll::Ready(Some(Err(error))) => *pair.as_mut().project().last = Some(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        match error {
            Some(error) => self.fail(error),
            None => self.interrupt(&mut cx),
        }
    }

    /// Ends the response if its limit has expired or it is cancelled.
    fn interrupt(&mut self, cx: &mut Context<'_>) {
        let pair = self.pair.as_mut().map(Pin::as_mut);
        if let Some(error) = pair.and_then(|pair| interrupt(pair, cx)) {
            self.fail(error);
        }
    }

    /// Ends the response with this error, which the consumer finds, unless it is over.
    fn fail(&mut self, error: ToolError) {
        let Some(pair) = self.pair.as_mut().filter(|pair| pair.watch.is_some()) else {
            return;
        };
        let failed = pair.as_mut().caught(|mut pair| {
            pair.as_mut().fail(error);
            Poll::Ready(pair.project().last.take().map(Err))
        });
        if let Poll::Ready(Some(Err(error))) = failed {
            *pair.as_mut().project().last = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::stream;

    use super::*;
    use crate::response::ContentStream;
    use crate::seam::End;

    struct Expires(Instant);

    impl Watch for Expires {
        fn expires_at(&self) -> Option<Instant> {
            Some(self.0)
        }

        fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<ToolError> {
            match self.0 <= Instant::now() {
                true => Poll::Ready(ToolError::failed("expired")),
                false => Poll::Pending,
            }
        }

        fn on_end(self, _: End<'_>) {}
    }

    /// The task finds the lock taken, and goes on when the consumer has released it.
    #[tokio::test(start_paused = true)]
    async fn task_goes_on_when_the_consumer_releases_the_lock() {
        let second = Duration::from_secs(1);
        let inner = Inner::new(Pair {
            source: Some(ContentStream::new(stream::pending())),
            watch: Some(Expires(Instant::now() + second)),
            last: None,
        });
        let shared = Shared {
            inner: Arc::clone(&inner),
            task: tokio::spawn(std::future::ready(())).abort_handle(),
        };
        let mut task = pin!(Arc::clone(&inner).end_in_time(Signals::new(None, None)));
        let mut cx = Context::from_waker(Waker::noop());
        let consumer = lock(&inner.state);
        assert!(task.as_mut().poll(&mut cx).is_pending());
        drop(consumer);
        assert!(task.as_mut().poll(&mut cx).is_pending());
        // It waits for the consumer, and not yet for its limit: nothing was released.
        tokio::time::advance(second).await;
        assert!(task.as_mut().poll(&mut cx).is_pending());
        shared.peek(|source| assert!(source.is_some()));
        assert!(task.as_mut().poll(&mut cx).is_ready());
        let ended = shared.poll_item(&mut cx);
        assert!(matches!(ended, Poll::Ready(Some(Err(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn each_use_by_the_consumer_releases_the_lock() {
        let inner = Inner::new(Pair {
            source: Some(ContentStream::new(stream::pending())),
            watch: Some(Expires(Instant::now() + Duration::from_secs(1))),
            last: None,
        });
        let shared = Shared {
            inner: Arc::clone(&inner),
            task: tokio::spawn(std::future::ready(())).abort_handle(),
        };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shared.poll_item(&mut cx).is_pending());
        assert!(pin!(inner.released.notified()).poll(&mut cx).is_ready());
        shared.peek(|_| ());
        assert!(pin!(inner.released.notified()).poll(&mut cx).is_ready());
    }
}
