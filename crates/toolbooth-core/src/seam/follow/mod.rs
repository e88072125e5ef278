//! Follows a streaming response of any kind. The only place where one ends.
//!
//! 1. `Watch::on_end` is called exactly once, after the source is dropped and before the consumer
//!    sees the end.
//! 2. An item that the source has ready is delivered before a limit or a cancellation is looked at.
//! 3. Where the watch has a limit or is interrupted, or the call has a canceller, a task ends the
//!    response then, whether or not the consumer polls. It never blocks on the consumer's lock: it
//!    waits until the consumer releases that.
//! 4. The limit may move while the task sleeps: then the task sleeps on. An item that is ready at
//!    the limit is activity if the consumer waits for it, otherwise only the last item.

mod shared;
mod signals;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tracing::Span;

use self::shared::Shared;
use self::signals::Signals;
use super::{End, Item, Part, Watch};
use crate::error::ToolError;
use crate::outcome::CancelReason;

/// A source of items: a stream, a body.
pub(in crate::seam) trait Items {
    type Item: Send;

    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Self::Item, ToolError>>>;

    /// Returns what the watch sees of an item.
    fn seen(item: &Self::Item) -> Item<'_>;

    /// Returns whether the response is complete although the source has not returned `None` yet.
    /// The source is kept to return what follows the response.
    fn is_complete(&self) -> bool {
        false
    }
}

pin_project! {
    /// A source with a watch.
    #[project = FollowedProj]
    pub(in crate::seam) enum Followed<P: Items, W: Watch> {
        Alone { #[pin] pair: Pair<P, W> },
        /// With a task beside it that ends it.
        Shared { shared: Shared<P, W> },
    }
}

pin_project! {
    pub(in crate::seam) struct Pair<P: Items, W: Watch> {
        #[pin]
        source: Option<P>,
        watch: Option<W>,
        // What the consumer gets once the source is gone.
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
        let token = watch.part().and_then(Part::token).cloned();
        let signals = Signals::new(token, watch.interrupted());
        let ends_in_time = !signals.is_empty() || watch.expires_at().is_some();
        let pair = Pair {
            source: Some(source),
            watch: Some(watch),
            last: None,
        };
        match Handle::try_current() {
            Ok(runtime) if ends_in_time => Self::Shared {
                shared: Shared::new(pair, &runtime, signals),
            },
            _ => Self::Alone { pair },
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
    /// Looks at the source, which is `None` once the response has ended.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only bodies have more to look at than items")
    )]
    pub(in crate::seam) fn peek<T>(&self, look: impl FnOnce(Option<&P>) -> T) -> T {
        match self {
            Self::Alone { pair } => look(pair.source.as_ref()),
            Self::Shared { shared } => shared.peek(look),
        }
    }

    /// Ends a response that is complete before its first item.
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
            // A source that panicked is dropped without being polled again.
            catch_unwind(AssertUnwindSafe(|| self.as_mut().poll_source(cx)))
                .unwrap_or_else(|panic| Poll::Ready(Some(Err(ToolError::from_panic(&*panic)))))
        } else {
            EndOnPanic(Some(self.as_mut())).poll_source(cx)
        };
        self.polled(polled, cx)
    }

    fn poll_source(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        let this = self.project();
        let span = this.watch.as_ref().and_then(W::span);
        let _entered = span.map(Span::enter);
        match this.source.as_pin_mut() {
            Some(source) => source.poll_item(cx),
            None => Poll::Ready(None),
        }
    }

    /// Turns what the source returned into what the consumer gets.
    fn polled(
        mut self: Pin<&mut Self>,
        polled: Poll<Option<Result<P::Item, ToolError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P::Item, ToolError>>> {
        match polled {
            Poll::Ready(Some(Ok(item))) => {
                self.as_mut().deliver(&item, cx);
                return Poll::Ready(Some(Ok(item)));
            }
            Poll::Ready(Some(Err(error))) => self.as_mut().fail(error),
            Poll::Ready(None) => self.as_mut().end(End::Complete),
            Poll::Pending => match interrupt(self.as_mut(), cx) {
                Some(error) => self.as_mut().fail(error),
                None => return Poll::Pending,
            },
        }
        Poll::Ready(self.project().last.take().map(Err))
    }

    /// Passes an item to the watch. The response may end after it.
    fn deliver(mut self: Pin<&mut Self>, item: &P::Item, cx: &mut Context<'_>) {
        let this = self.as_mut().project();
        let Some(watch) = this.watch else { return };
        let source = this.source.as_ref().get_ref();
        let complete = source.as_ref().is_some_and(P::is_complete);
        match watch.on_item(P::seen(item)) {
            // An item that is ready at the limit counts, and here it is the last one.
            _ if complete => {
                if let Some(watch) = this.watch.take() {
                    watch.on_end(End::Complete);
                }
            }
            ControlFlow::Break(error) => self.fail(error),
            ControlFlow::Continue(()) => {
                if let Some(error) = cancelled(watch, cx) {
                    self.fail(error);
                }
            }
        }
    }

    /// Turns a panic into the error, such as one of the source's drop: it has no caller to
    /// propagate to.
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

    /// Drops the source, then ends the watch. Later calls do nothing.
    fn end(self: Pin<&mut Self>, end: End<'_>) {
        let catches = self.catches();
        let mut this = self.project();
        // Ends the watch also if the source's drop panics.
        let mut unended = Unended(this.watch.take());
        let mut drop_source = || {
            let span = unended.0.as_ref().and_then(W::span);
            let _entered = span.map(Span::enter);
            this.source.set(None);
        };
        if !catches {
            drop_source();
        } else if let Err(panic) = catch_unwind(AssertUnwindSafe(drop_source)) {
            return Self::end_in_panic(unended, end, ToolError::from_panic(&*panic), this.last);
        }
        if let Some(watch) = unended.0.take() {
            watch.on_end(end);
        }
    }

    /// Ends the watch after the source's drop panicked. The consumer, if there is one, gets the
    /// panic as the error.
    fn end_in_panic(
        mut unended: Unended<W>,
        end: End<'_>,
        mut panic: ToolError,
        last: &mut Option<ToolError>,
    ) {
        let Some(watch) = unended.0.take() else {
            return;
        };
        match end {
            End::Dropped(_) => {
                tracing::warn!(%panic, "a streaming response panicked when it was dropped");
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

/// Returns the error that ends the response now, if its call is cancelled or its limit expired.
fn interrupt<P: Items, W: Watch>(
    pair: Pin<&mut Pair<P, W>>,
    cx: &mut Context<'_>,
) -> Option<ToolError> {
    let watch = pair.project().watch.as_mut()?;
    cancelled(watch, cx).or_else(|| match watch.poll_interrupt(cx) {
        Poll::Ready(error) => Some(error),
        Poll::Pending => None,
    })
}

fn cancelled<W: Watch>(watch: &W, cx: &mut Context<'_>) -> Option<ToolError> {
    match watch.part()?.poll_cancelled(cx) {
        Poll::Ready(reason) => Some(ToolError::cancelled(reason)),
        Poll::Pending => None,
    }
}

/// A watch that has not ended yet. Dropped in a panic, it ends as one.
struct Unended<W: Watch>(Option<W>);

impl<W: Watch> Drop for Unended<W> {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            watch.on_end(End::Panicked);
        }
    }
}

/// Guards a poll of the source: a panic ends the response.
struct EndOnPanic<'a, P: Items, W: Watch>(Option<Pin<&'a mut Pair<P, W>>>);

impl<P: Items, W: Watch> EndOnPanic<'_, P, W> {
    fn poll_source(mut self, cx: &mut Context<'_>) -> Poll<Option<Result<P::Item, ToolError>>> {
        let polled = match &mut self.0 {
            Some(pair) => pair.as_mut().poll_source(cx),
            None => Poll::Pending,
        };
        self.0 = None;
        polled
    }
}

impl<P: Items, W: Watch> Drop for EndOnPanic<'_, P, W> {
    fn drop(&mut self) {
        if let Some(mut pair) = self.0.take() {
            pair.as_mut().end(End::Panicked);
        }
    }
}
