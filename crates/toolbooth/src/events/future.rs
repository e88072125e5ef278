use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{
    BoxError, CancelReason, Content, End, EventKind, EventSink, Item, Name, Part, ResponseHead,
    ToolError, ToolOutput, ToolResponse,
};
use tower_service::Service;
use tracing::Span;

#[cfg(feature = "http")]
use crate::middleware::status;
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// The future of [`Events`](super::Events).
    #[project = ResponseFutureProj]
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        kind: Kind<S, R>,
    }
}

pin_project! {
    #[repr(u64)]
    #[project = KindProj]
    enum Kind<S, R>
    where
        S: Service<R>,
    {
        // The layer has no sink.
        Passed { #[pin] future: S::Future },
        Layered { #[pin] future: LayerFuture<S, R, ResponseWatch> },
        // It passed the layer, and has completed.
        Done,
    }
}

/// Delivers the events of a response to its end.
pub struct ResponseWatch {
    sinks: Arc<[Arc<dyn EventSink>]>,
    /// Boxed: most calls have none, and each call pays for its size.
    span: Option<Box<Span>>,
    /// Whether the response of a tool reports a failure.
    is_error: bool,
    /// Whether the response is buffered.
    is_buffered: bool,
    /// The contents of a buffered response, if a sink wants them.
    contents: Option<Arc<[Content]>>,
    /// The status of HTTP or gRPC, if it is a failure.
    failure: Option<Name>,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    #[inline(always)]
    pub(super) const fn passed(future: S::Future) -> Self {
        Self {
            kind: Kind::Passed { future },
        }
    }

    #[inline(always)]
    pub(super) const fn layered(future: LayerFuture<S, R, ResponseWatch>) -> Self {
        Self {
            kind: Kind::Layered { future },
        }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output =
        Result<<S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>, ToolError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        match kind.as_mut().project() {
            // The inner future is dropped before its result is used, as by every layer. Each arm
            // does that itself: without a `Result` of both, the room for an error is not copied
            // with each response (benchmark line `events`).
            KindProj::Passed { future } => match future.poll(cx) {
                Poll::Ready(Ok(response)) => {
                    kind.set(Kind::Done);
                    Poll::Ready(Ok(response.watch(PartWatch::none())))
                }
                Poll::Ready(Err(error)) => {
                    kind.set(Kind::Done);
                    Poll::Ready(Err(ToolError::from_error(error)))
                }
                Poll::Pending => Poll::Pending,
            },
            KindProj::Layered { future } => future.poll(cx),
            KindProj::Done => Poll::Pending,
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) fn new(sinks: Arc<[Arc<dyn EventSink>]>) -> Self {
        Self {
            span: sinks.iter().find_map(|sink| sink.span()).map(Box::new),
            sinks,
            is_error: false,
            is_buffered: false,
            contents: None,
            failure: None,
        }
    }

    fn observe_output(&mut self, output: &ToolOutput) {
        self.is_error = output.is_error();
        self.is_buffered = !output.is_stream();
        if self.sinks.iter().any(|sink| sink.wants_contents()) {
            self.contents = output.as_contents().map(Into::into);
        }
    }

    /// Returns the terminal event, without contents.
    fn ended(&self, part: &Part, end: &End<'_>) -> EventKind {
        match (end, &self.failure) {
            // Whether or not the body is read.
            (End::Complete | End::Dropped(CancelReason::CallerGone), Some(status)) => {
                EventKind::Failed {
                    error: None,
                    error_type: status.clone(),
                }
            }
            // The error of a buffered response that reports a failure stands for the response.
            (End::Failed(_), _) if self.is_error && self.is_buffered => self.completed(),
            (End::Complete, None) => self.completed(),
            (end, _) => part.ended(end),
        }
    }

    const fn completed(&self) -> EventKind {
        EventKind::Completed {
            is_error: self.is_error,
            contents: None,
        }
    }
}

impl LayerWatch for ResponseWatch {
    fn span(&self) -> Option<&Span> {
        self.span.as_deref()
    }

    fn on_response(&mut self, _: &Part, head: ResponseHead<'_>) {
        match head {
            ResponseHead::Tool(output) => self.observe_output(output),
            #[cfg(feature = "http")]
            ResponseHead::Http(head) => self.failure = status::failure_of_head(head),
            _ => {}
        }
    }

    fn on_item(&mut self, part: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        part.report_item(item);
        #[cfg(feature = "http")]
        if let (Item::Trailers(trailers), None) = (item, &self.failure) {
            self.failure = status::failure_of_trailers(trailers);
        }
        ControlFlow::Continue(())
    }

    fn on_end(self, part: &Part, end: &End<'_>) {
        let ended = self.ended(part, end);
        for sink in &*self.sinks {
            let mut ended = ended.clone();
            if let EventKind::Completed { contents, .. } = &mut ended {
                *contents = self.contents.clone().filter(|_| sink.wants_contents());
            }
            part.report_to(&**sink, ended);
        }
    }
}

impl fmt::Debug for ResponseWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseWatch")
            .field("sinks", &self.sinks.len())
            .field("is_error", &self.is_error)
            .finish_non_exhaustive()
    }
}
