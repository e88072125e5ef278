//! A streamed answer that is cut by a task or by the owner of its call, whether or not its consumer polls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Items, Pair};
use crate::call::Cut;
use crate::error::ToolError;
use crate::seam::Watch;
use crate::sync::lock;

/// The consumer's end of a pair that a task may cut: dropping it ends the pair and the task.
pub(super) struct Cuttable<P: Items, W: Watch> {
    shared: Arc<Shared<P, W>>,
    task: Option<AbortHandle>,
}

struct Shared<P: Items, W: Watch> {
    state: Mutex<State<P, W>>,
    struck: AtomicBool,
    /// Told when a consumer that was polling as the task struck has let go.
    look_again: Notify,
}

struct State<P: Items, W: Watch> {
    pair: Option<Pin<Box<Pair<P, W>>>>,
    /// A piece that was ready when the task cut the answer.
    piece: Option<P::Item>,
    consumer: Option<Waker>,
    /// Whether the consumer has asked for a piece and got none yet.
    waiting: bool,
}

/// What the task does next.
enum Next {
    Sleep(Instant),
    LookAgain,
    Done,
}

/// Of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

// === impl Cuttable ===

impl<P: Items + Send + 'static, W: Watch> Cuttable<P, W> {
    /// It is cut by the owner of its call, if that has one, and at a moment, if there is one.
    pub(super) fn new(pair: Pair<P, W>, at: Option<(Instant, Handle)>) -> Self {
        let context = pair.watch.as_ref().and_then(W::part);
        let context = context.map(|part| part.context().clone());

        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                pair: Some(Box::pin(pair)),
                piece: None,
                consumer: None,
                waiting: false,
            }),
            struck: AtomicBool::new(false),
            look_again: Notify::new(),
        });
        if let Some(context) = context {
            context.attempt_state().cut_with_owner(&shared);
        }
        let task = at.map(|(at, runtime)| {
            let cut = Arc::clone(&shared);
            let task = runtime.spawn(async move {
                let mut next = Next::Sleep(at);
                loop {
                    match next {
                        Next::Sleep(at) => tokio::time::sleep_until(at).await,
                        Next::LookAgain => cut.look_again.notified().await,
                        Next::Done => return,
                    }
                    next = cut.strike(false);
                }
            });
            task.abort_handle()
        });
        Self { shared, task }
    }

    pub(super) fn poll_item(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        let polled = self.shared.poll_item(&mut lock(&self.shared.state), cx);
        match polled {
            Poll::Pending if self.shared.let_go() => {
                self.shared.poll_item(&mut lock(&self.shared.state), cx)
            }
            Poll::Pending => Poll::Pending,
            polled @ Poll::Ready(_) => {
                self.shared.let_go();
                polled
            }
        }
    }
}

impl<P: Items, W: Watch> Cuttable<P, W> {
    /// Looks at the source. A piece that waits for the consumer comes before whatever the source says by now.
    pub(super) fn peek<T>(&self, look: impl FnOnce(Option<&P>) -> T) -> T {
        let state = lock(&self.shared.state);
        let pair = state.pair.as_ref().filter(|_| state.piece.is_none());
        let seen = look(pair.and_then(|pair| pair.source.as_ref()));
        drop(state);
        self.shared.let_go();
        seen
    }
}

impl<P: Items, W: Watch> Drop for Cuttable<P, W> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        let pair = lock(&self.shared.state).pair.take();
        drop(pair);
    }
}

impl<P: Items, W: Watch> Shared<P, W> {
    fn poll_item(
        &self,
        state: &mut MutexGuard<'_, State<P, W>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        if let Some(piece) = state.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(pair) = &mut state.pair else {
            return Poll::Ready(None);
        };
        let polled = pair.as_mut().poll_item(cx);
        state.waiting = polled.is_pending();
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

    /// Called by whoever had the lock and has let go of it: who wanted to cut meanwhile has left it to us. True if there
    /// was anything to cut.
    fn let_go(&self) -> bool {
        let mut cut = false;
        while self.struck.load(Ordering::SeqCst) {
            self.struck.store(false, Ordering::SeqCst);
            let mut state = lock(&self.state);
            let cut_now = state.cut();
            let consumer = state.consumer.take_if(|_| cut_now);
            drop(state);
            cut |= cut_now;
            consumer.into_iter().for_each(Waker::wake);
            self.look_again.notify_one();
        }
        cut
    }

    /// The lock, or the word left for who has it: who fails to get the lock behind that word is seen by its holder.
    fn try_lock(&self) -> Option<MutexGuard<'_, State<P, W>>> {
        let try_lock = || match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        try_lock().or_else(|| {
            self.struck.store(true, Ordering::SeqCst);
            try_lock()
        })
    }

    /// The instant has come, unless it has moved; or the owner of the call cuts it, whenever that is.
    fn strike(&self, by_owner: bool) -> Next {
        let Some(mut state) = self.try_lock() else {
            return Next::LookAgain;
        };
        let now = Instant::now();
        let mut next = state.expires_at();
        let mut consumer = None;
        if by_owner || next.is_some_and(|at| at <= now) {
            state.last_piece();
            // It finds its piece or its error; and if neither, it asks the source anew, which knows no waker by now.
            consumer = state.consumer.take();
            // Where a sign of life came in between, or a watch does not keep its word, it is not asked all the time.
            next = state.expires_at().map(|at| at.max(now + TICK));
        }
        drop(state);
        consumer.into_iter().for_each(Waker::wake);
        self.let_go();
        next.map_or(Next::Done, Next::Sleep)
    }
}

impl<P: Items + Send, W: Watch> Cut for Shared<P, W> {
    fn cut(&self) {
        self.strike(true);
    }
}

/// The error that cuts the answer now, if there is one.
fn interrupt<P: Items, W: Watch>(pair: Pin<&mut Pair<P, W>>) -> Option<ToolError> {
    let watch = pair.project().watch.as_mut()?;
    let owner = watch.part().map(|part| part.context().attempt_state());
    if let Some(reason) = owner.and_then(|attempt| attempt.cut_by_owner()) {
        return Some(ToolError::cancelled(reason));
    }
    match watch.poll_interrupt(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => Some(error),
        Poll::Pending => None,
    }
}

impl<P: Items, W: Watch> State<P, W> {
    fn expires_at(&self) -> Option<Instant> {
        self.pair.as_ref()?.watch.as_ref()?.expires_at()
    }

    /// At the instant: a piece that is ready is still delivered, then the answer is cut. A panic has no caller to go
    /// to here, and becomes the error.
    fn last_piece(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if self.piece.is_some() {
            // Nobody has come for the one before.
            self.cut();
            return;
        }
        let Some(pair) = &mut self.pair else { return };
        let mut cx = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| pair.as_mut().poll_source(&mut cx)));
        let polled = match polled {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))),
        };
        if polled.is_pending() {
            self.cut();
            return;
        }
        let complete = pair.source.as_ref().is_some_and(P::is_complete);
        let unasked = !waiting && !complete && matches!(polled, Poll::Ready(Some(Ok(_))));
        // Before the watch hears of the piece: nobody asked for it, so that it is no sign of life.
        let error = unasked.then(|| interrupt(pair.as_mut())).flatten();
        match pair.as_mut().caught(|pair| pair.polled(polled, &mut cx)) {
            Poll::Ready(Some(Ok(piece))) => self.piece = Some(piece),
            Poll::Ready(Some(Err(error))) => *pair.as_mut().project().last = Some(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        match error {
            Some(error) => self.fail(error),
            None => {
                self.cut();
            }
        }
    }

    /// Cuts what is not over yet; false if there was nothing to cut.
    fn cut(&mut self) -> bool {
        let Some(pair) = &mut self.pair else {
            return false;
        };
        match interrupt(pair.as_mut()) {
            Some(error) => {
                self.fail(error);
                true
            }
            None => false,
        }
    }

    /// Ends what is not over yet with this error, which the consumer finds.
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
