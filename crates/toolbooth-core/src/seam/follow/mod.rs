//! Following a streamed answer, for every kind of stream: the one place where a streamed answer ends.
//!
//! 1. The watch is told the end exactly once, after the source is gone and before the consumer sees the end.
//! 2. A piece that the source has ready is delivered before an interrupt is looked at.
//! 3. Where a watch names an instant, a task cuts the answer then, whether or not the consumer
//!    polls. It never waits for the consumer's lock: if the consumer is polling just then, the
//!    consumer finds `struck` when it lets go of the lock, cuts itself, and lets the task look again.
//! 4. The instant may move while the task sleeps: then the task sleeps on, and nothing else happens. A piece
//!    that is ready at the instant is a sign of life if the consumer waits for it, and else only the last piece.

mod cut;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;

use self::cut::Cuttable;
use super::{End, Item, Watch};
use crate::error::ToolError;
use crate::outcome::CancelReason;

/// A source of pieces: a stream, a body.
pub(in crate::seam) trait Items {
    type Item: Send;

    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Self::Item, ToolError>>>;

    /// What the watch is told of a piece.
    fn told(piece: &Self::Item) -> Item<'_>;

    /// Whether the answer is complete although the source has not said `None` yet; it stays to give what follows the answer.
    fn is_complete(&self) -> bool {
        false
    }
}

pin_project! {
    /// A source with a watch on it.
    #[project = FollowedProj]
    pub(in crate::seam) enum Followed<P: Items, W: Watch> {
        Alone { #[pin] pair: Pair<P, W> },
        /// With a task beside it that cuts it.
        Shared { shared: Cuttable<P, W> },
    }
}

pin_project! {
    pub(in crate::seam) struct Pair<P: Items, W: Watch> {
        #[pin]
        source: Option<P>,
        watch: Option<W>,
        // What the consumer gets when the source is gone.
        last: Option<ToolError>,
    }

    impl<P: Items, W: Watch> PinnedDrop for Pair<P, W> {
        fn drop(this: Pin<&mut Self>) {
            this.end(End::Dropped(CancelReason::CallerGone));
        }
    }
}

// === impl Followed ===

impl<P: Items, W: Watch> Followed<P, W>
where
    P: Send + 'static,
{
    pub(in crate::seam) fn new(source: P, watch: W) -> Self {
        let at = watch.expires_at().zip(Handle::try_current().ok());
        let owned = watch
            .part()
            .is_some_and(|part| part.context().attempt_state().is_owned_by_now());
        let pair = Pair {
            source: Some(source),
            watch: Some(watch),
            last: None,
        };
        match at.is_some() || owned {
            true => Self::Shared {
                shared: Cuttable::new(pair, at),
            },
            false => Self::Alone { pair },
        }
    }

    pub(in crate::seam) fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        match self.project() {
            FollowedProj::Alone { pair } => pair.poll_item(cx),
            FollowedProj::Shared { shared } => shared.poll_item(cx),
        }
    }
}

impl<P: Items, W: Watch> Followed<P, W> {
    /// Looks at the source, which is `None` once the answer has ended.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only bodies are asked for more than pieces")
    )]
    pub(in crate::seam) fn peek<T>(&self, look: impl FnOnce(Option<&P>) -> T) -> T {
        match self {
            Self::Alone { pair } => look(pair.source.as_ref()),
            Self::Shared { shared } => shared.peek(look),
        }
    }

    /// Ends an answer that is complete before its first piece.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only bodies are complete from the start")
    )]
    pub(in crate::seam) fn complete(watch: W, source: P) -> Self {
        watch.on_end(End::Complete);
        Self::Alone {
            pair: Pair {
                source: Some(source),
                watch: None,
                last: None,
            },
        }
    }
}

// === impl Pair ===

impl<P: Items, W: Watch> Pair<P, W> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        let polled = if self.catches() {
            // Nothing half-made is met again: a source that panicked is dropped unpolled.
            catch_unwind(AssertUnwindSafe(|| self.as_mut().poll_source(cx)))
                .unwrap_or_else(|panic| Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))))
        } else {
            Armed(Some(self.as_mut())).poll_source(cx)
        };
        self.polled(polled, cx)
    }

    fn poll_source(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        match self.project().source.as_pin_mut() {
            Some(source) => source.poll_item(cx),
            None => Poll::Ready(None),
        }
    }

    /// What follows from what the source said.
    fn polled(
        mut self: Pin<&mut Self>,
        polled: Poll<Option<Result<P::Item, ToolError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        match polled {
            Poll::Ready(Some(Ok(piece))) => {
                self.as_mut().delivering(&piece);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.as_mut().fail(error);
                Poll::Ready(self.project().last.take().map(Err))
            }
            Poll::Ready(None) => {
                self.as_mut().end(End::Complete);
                Poll::Ready(self.project().last.take().map(Err))
            }
            Poll::Pending => {
                let watch = self.as_mut().project().watch;
                match watch.as_mut().map(|watch| watch.poll_interrupt(cx)) {
                    Some(Poll::Ready(error)) => {
                        self.as_mut().fail(error);
                        Poll::Ready(self.project().last.take().map(Err))
                    }
                    _ => Poll::Pending,
                }
            }
        }
    }

    /// Tells the watch of a piece; its answer, or the source, may be at its end behind it.
    fn delivering(mut self: Pin<&mut Self>, piece: &P::Item) {
        let this = self.as_mut().project();
        let Some(watch) = this.watch else { return };
        let complete = this
            .source
            .as_ref()
            .get_ref()
            .as_ref()
            .is_some_and(P::is_complete);
        match (complete, watch.on_item(P::told(piece))) {
            // What is ready when a limit strikes counts, and here it is all there is.
            (true, _) => {
                if let Some(watch) = this.watch.take() {
                    watch.on_end(End::Complete);
                }
            }
            (false, ControlFlow::Break(error)) => self.fail(error),
            (false, ControlFlow::Continue(())) => {}
        }
    }

    /// Where a panic, such as one of the source's drop, has no caller to go to: it becomes the error.
    fn caught(
        mut self: Pin<&mut Self>,
        run: impl FnOnce(Pin<&mut Self>) -> Poll<Option<Result<P::Item, ToolError>>>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        match catch_unwind(AssertUnwindSafe(|| run(self.as_mut()))) {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))),
        }
    }

    fn catches(&self) -> bool {
        self.watch.as_ref().is_some_and(W::catches_panics)
    }

    fn fail(mut self: Pin<&mut Self>, mut error: ToolError) {
        self.as_mut().end(End::Failed(&mut error));
        *self.project().last = Some(error);
    }

    /// Drops the source, then tells the watch; later calls do nothing.
    fn end(self: Pin<&mut Self>, end: End<'_>) {
        let catches = self.catches();
        let mut this = self.project();
        // Should the source's drop panic, the end is told all the same.
        let mut untold = Untold(this.watch.take());
        if !catches {
            this.source.set(None);
        } else if let Err(panic) = catch_unwind(AssertUnwindSafe(|| this.source.set(None))) {
            return Self::end_in_panic(untold, end, ToolError::from_panic(&*panic), this.last);
        }
        if let Some(watch) = untold.0.take() {
            watch.on_end(end);
        }
    }

    /// The source's drop panicked, and the panic goes no further: where there is a consumer it gets the error.
    fn end_in_panic(
        mut untold: Untold<W>,
        end: End<'_>,
        mut panic: ToolError,
        last: &mut Option<ToolError>,
    ) {
        let Some(watch) = untold.0.take() else { return };
        match end {
            End::Dropped(_) => {
                tracing::warn!(%panic, "a streamed answer panicked when it was dropped");
                watch.on_end(end);
            }
            End::Failed(error) => {
                *error = panic;
                watch.on_end(End::Failed(error));
            }
            End::Complete | End::Panicked => {
                watch.on_end(End::Failed(&mut panic));
                *last = Some(panic);
            }
        }
    }
}

/// A watch on its way to being told the end; or told of a panic, where there was one.
struct Untold<W: Watch>(Option<W>);

impl<W: Watch> Drop for Untold<W> {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            watch.on_end(End::Panicked);
        }
    }
}

/// Around a poll of the source: a panic ends the answer as one.
struct Armed<'a, P: Items, W: Watch>(Option<Pin<&'a mut Pair<P, W>>>);

impl<P: Items, W: Watch> Armed<'_, P, W> {
    fn poll_source(mut self, cx: &mut Context<'_>) -> Poll<Option<Result<P::Item, ToolError>>> {
        let polled = match &mut self.0 {
            Some(pair) => pair.as_mut().poll_source(cx),
            None => Poll::Pending,
        };
        self.0 = None;
        polled
    }
}

impl<P: Items, W: Watch> Drop for Armed<'_, P, W> {
    fn drop(&mut self) {
        if let Some(mut pair) = self.0.take() {
            pair.as_mut().end(End::Panicked);
        }
    }
}
