use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use toolbooth_core::{End, Item, Part, ResponseHead, ToolError, Watch};
use tracing::Span;

/// What a layer does with a call that it has decided about: it observes the response and the end.
///
/// The value owns what the layer acquired for the call. [`LayerFuture`](super::LayerFuture) owns
/// the value until the response is returned; then the response does, to its last byte.
pub trait LayerWatch: Send + Unpin + Sized + 'static {
    /// Polls for an error that ends the call while it runs and has no response yet. Called when the
    /// inner service is pending. The default is none.
    fn poll_pending(&mut self, part: &Part, cx: &mut Context<'_>) -> Poll<ToolError> {
        let _ = (part, cx);
        Poll::Pending
    }

    /// Observes the head of the response, before the consumer receives it.
    fn on_response(&mut self, part: &Part, head: ResponseHead<'_>) {
        let _ = (part, head);
    }

    /// Observes an item of a streaming response on its way to the consumer. `Break` ends the
    /// response after this item.
    fn on_item(&mut self, part: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        let _ = (part, item);
        ControlFlow::Continue(())
    }

    /// Polls for an error that ends a streaming response. Called when the stream is pending.
    fn poll_interrupt(&mut self, part: &Part, cx: &mut Context<'_>) -> Poll<ToolError> {
        let _ = (part, cx);
        Poll::Pending
    }

    /// Returns when a streaming response expires even if its consumer does not poll it.
    ///
    /// At that instant [`poll_interrupt`](Self::poll_interrupt) is called. The method is called
    /// again then: the instant may move to a later one.
    fn expires_at(&self, part: &Part) -> Option<Instant> {
        let _ = part;
        None
    }

    /// Returns a future that completes when a streaming response is to end, even if its consumer
    /// does not poll it. It is called once.
    ///
    /// When the future completes, [`poll_interrupt`](Self::poll_interrupt) is called for the error.
    fn interrupted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// Returns the span that the inner service is called, polled and dropped in, its streaming
    /// response is polled and dropped in, and the call ends in. `None` by default.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// Returns whether a panic of the inner service or of its response becomes an error.
    fn catches_panics(&self) -> bool {
        false
    }

    /// Observes an error that ends the call, before the layers outside do: an error that this layer
    /// made gets its [name](ToolError::set_layer). The default does nothing.
    fn on_error(&self, error: &mut ToolError) {
        let _ = error;
    }

    /// Handles the end of the call: releases what the layer acquired.
    ///
    /// Called once, after everything inside was dropped and before the caller sees the outcome.
    /// The default drops the value.
    fn on_end(self, part: &Part, end: &End<'_>) {
        let _ = (part, end);
    }
}

/// A [`LayerWatch`] with its layer's [`Part`] of the call: the [`Watch`] inside of a response.
///
/// The `Response` of a layer around `S` is
/// `<S::Response as ToolResponse>::Watched<PartWatch<W>>`.
#[derive(Debug)]
pub struct PartWatch<W> {
    /// Both are `None` for a call that passed the layer without entering it.
    part: Option<Part>,
    watch: Option<W>,
}

// === impl PartWatch ===

impl<W: LayerWatch> PartWatch<W> {
    #[inline(always)]
    pub(super) const fn new(part: Part, watch: W) -> Self {
        Self {
            part: Some(part),
            watch: Some(watch),
        }
    }

    /// Creates the watch of a call that has not entered the layer.
    #[inline(always)]
    pub(crate) const fn none() -> Self {
        Self {
            part: None,
            watch: None,
        }
    }

    fn both(&mut self) -> Option<(&Part, &mut W)> {
        Some((self.part.as_ref()?, self.watch.as_mut()?))
    }
}

impl<W: LayerWatch> Watch for PartWatch<W> {
    fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    fn is_entered(&self) -> bool {
        self.part.is_some()
    }

    fn on_response(&mut self, head: ResponseHead<'_>) {
        if let Some((part, watch)) = self.both() {
            watch.on_response(part, head);
        }
    }

    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<ToolError> {
        match self.both() {
            Some((part, watch)) => watch.poll_interrupt(part, cx),
            None => Poll::Pending,
        }
    }

    fn expires_at(&self) -> Option<Instant> {
        self.watch.as_ref()?.expires_at(self.part.as_ref()?)
    }

    fn interrupted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.watch.as_ref()?.interrupted()
    }

    fn span(&self) -> Option<&Span> {
        self.watch.as_ref()?.span()
    }

    fn catches_panics(&self) -> bool {
        self.watch.as_ref().is_some_and(W::catches_panics)
    }

    fn on_item(&mut self, item: Item<'_>) -> ControlFlow<ToolError> {
        match self.both() {
            Some((part, watch)) => watch.on_item(part, item),
            None => ControlFlow::Continue(()),
        }
    }

    #[inline(always)]
    fn on_end(self, mut end: End<'_>) {
        let (Some(part), Some(watch)) = (self.part, self.watch) else {
            return;
        };
        if let End::Failed(error) = &mut end {
            watch.on_error(error);
        }
        let span = watch.span().cloned();
        let _entered = span.as_ref().map(Span::enter);
        part.end(end, |part, end| watch.on_end(part, end));
    }
}
