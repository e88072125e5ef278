//! A streamed answer that is cut by a task or by the owner of its call, whether or not its consumer polls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Pair, Pieces};
use crate::call::Cut;
use crate::error::ToolError;
use crate::outcome::CancelReason;
use crate::seam::Watch;
use crate::sync::lock;

/// The consumer's end of a pair that a task may cut: dropping it ends the pair and the task.
pub(super) struct Cuttable<P: Pieces, W: Watch> {
    shared: Arc<Shared<P, W>>,
    task: Option<AbortHandle>,
}

struct Shared<P: Pieces, W: Watch> {
    state: Mutex<State<P, W>>,
    struck: AtomicBool,
}

struct State<P: Pieces, W: Watch> {
    pair: Option<Pin<Box<Pair<P, W>>>>,
    /// A piece that was ready when the task cut the answer.
    piece: Option<P::Piece>,
    consumer: Option<Waker>,
}

// === impl Cuttable ===

impl<P: Pieces + Send + 'static, W: Watch> Cuttable<P, W> {
    /// It is cut by the owner of its call, if that has one, and at a moment, if there is one.
    pub(super) fn new(pair: Pair<P, W>, at: Option<(Instant, Handle)>) -> Self {
        let context = pair.watch.as_ref().and_then(W::context).cloned();

        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                pair: Some(Box::pin(pair)),
                piece: None,
                consumer: None,
            }),
            struck: AtomicBool::new(false),
        });
        if let Some(context) = context {
            context.attempt_state().cut_with_owner(&shared);
        }
        let task = at.map(|(at, runtime)| {
            let cut = Arc::clone(&shared);
            let task = runtime.spawn(async move {
                tokio::time::sleep_until(at).await;
                cut.strike();
            });
            task.abort_handle()
        });
        Self { shared, task }
    }

    pub(super) fn poll_piece(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Piece, ToolError>>> {
        let polled = self.shared.poll_piece(&mut lock(&self.shared.state), cx);
        // The lock is free again: had the task struck meanwhile, it left the cut to us.
        if self.shared.struck.load(Ordering::SeqCst) {
            let mut state = lock(&self.shared.state);
            let cut = state.cut();
            return match polled {
                Poll::Pending if cut => self.shared.poll_piece(&mut state, cx),
                polled => polled,
            };
        }
        polled
    }
}

impl<P: Pieces, W: Watch> Cuttable<P, W> {
    /// Looks at the source. A piece that waits for the consumer comes before whatever the source says by now.
    pub(super) fn peek<T>(&self, look: impl FnOnce(Option<&P>) -> T) -> T {
        let state = lock(&self.shared.state);
        let pair = state.pair.as_ref().filter(|_| state.piece.is_none());
        look(pair.and_then(|pair| pair.source.as_ref()))
    }
}

impl<P: Pieces, W: Watch> Drop for Cuttable<P, W> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        let pair = lock(&self.shared.state).pair.take();
        drop(pair);
    }
}

impl<P: Pieces, W: Watch> Shared<P, W> {
    fn poll_piece(
        &self,
        state: &mut MutexGuard<'_, State<P, W>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Piece, ToolError>>> {
        if let Some(piece) = state.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(pair) = &mut state.pair else {
            return Poll::Ready(None);
        };
        let polled = pair.as_mut().poll_piece(cx);
        if polled.is_pending()
            && !state
                .consumer
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            state.consumer = Some(cx.waker().clone());
        }
        polled
    }

    /// The instant has come.
    fn strike(&self) {
        self.struck.store(true, Ordering::SeqCst);
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        state.last_piece();
        state.cut();
        let consumer = state.consumer.take();
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }
}

impl<P: Pieces + Send, W: Watch> Cut for Shared<P, W> {
    fn cut(&self) {
        self.strike();
    }
}

fn cut_by_owner(watch: &impl Watch) -> Option<CancelReason> {
    watch.context()?.attempt_state().cut_by_owner()
}

impl<P: Pieces, W: Watch> State<P, W> {
    /// A piece that is ready at the instant is still delivered. A panic has no caller to go to here, and becomes the error.
    fn last_piece(&mut self) {
        let Some(pair) = &mut self.pair else { return };
        let mut cx = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| pair.as_mut().poll_source(&mut cx)));
        let polled = match polled {
            Ok(Poll::Pending) => return,
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))),
        };
        match pair.as_mut().caught(|pair| pair.polled(polled, &mut cx)) {
            Poll::Ready(Some(Ok(piece))) => self.piece = Some(piece),
            Poll::Ready(Some(Err(error))) => *pair.as_mut().project().last = Some(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
    }

    /// Cuts what is not over yet; false if there was nothing to cut.
    fn cut(&mut self) -> bool {
        let Some(pair) = &mut self.pair else {
            return false;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let error = match pair.as_mut().project().watch {
            Some(watch) => match cut_by_owner(watch) {
                Some(reason) => Poll::Ready(ToolError::cancelled(reason)),
                None => watch.poll_interrupt(&mut cx),
            },
            None => Poll::Pending,
        };
        match error {
            Poll::Ready(error) => {
                let failed = pair.as_mut().caught(|mut pair| {
                    pair.as_mut().fail(error);
                    Poll::Ready(pair.project().last.take().map(Err))
                });
                if let Poll::Ready(Some(Err(error))) = failed {
                    *pair.as_mut().project().last = Some(error);
                }
                true
            }
            Poll::Pending => false,
        }
    }
}
