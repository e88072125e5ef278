use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::no_body::NoBody;
use crate::error::{BoxError, ToolError};
use crate::seam::follow::{Followed, Items};
use crate::seam::{Item, ResponseHead, ToolResponse, Watch};

pin_project! {
    /// The body of a response that layers observe until its end.
    ///
    /// **A total limit applies until that end.** It ends longer downloads and all streams of
    /// server-sent events. Set another limit for such routes, or
    /// [`Duration::MAX`](std::time::Duration::MAX), by their [`ToolName`].
    ///
    /// The body ends at the first of these: `is_end_stream`, its declared length, its trailers, or
    /// `None`. Frames after that, such as trailers after a declared length, are still passed. A
    /// declared length does not end a response of gRPC, whose status is in its trailers.
    ///
    /// A response that expires ends with one error after its chunks. Over HTTP/1.1 the connection
    /// is closed within the response, over HTTP/2 the stream is reset. So no client takes a part
    /// for the whole.
    ///
    /// A client that stops reading does not stop the limit. The body is dropped in time, and the
    /// client reads the end of the connection later. A client that disconnects drops the body,
    /// which cancels the call.
    ///
    /// A response without a body (to HEAD; 204, 304, 1xx) ends its call with its head. So does an
    /// upgrade, such as the 101 of a websocket, or the success of a CONNECT: layers limit and
    /// observe the handshake, not the connection after it.
    pub struct WatchedBody<B: Body, W: Watch>
    where
        B::Data: Send,
        B::Error: Into<BoxError>,
        B::Error: 'static,
    {
        #[pin]
        followed: Followed<Source<B>, W>,
    }
}

pin_project! {
    struct Source<B> {
        #[pin]
        body: B,
        // The remaining bytes, if known: from a declared length, or 0 after trailers.
        remaining: Option<u64>,
    }
}

// === impl Response ===

impl<B> ToolResponse for Response<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    type Watched<W: Watch> = Response<WatchedBody<B, W>>;

    fn watch<W: Watch>(self, mut watch: W) -> Self::Watched<W> {
        let (head, body) = self.into_parts();
        let seen = ResponseHead::Http(&head);
        watch.on_response(seen);
        let declared = head.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let remaining = match seen.is_grpc() {
            true => None,
            false => body.size_hint().exact().or(declared),
        };
        let source = Source { body, remaining };
        let empty = head.status.is_informational()
            || head.status == StatusCode::NO_CONTENT
            || head.status == StatusCode::NOT_MODIFIED
            || watch
                .part()
                .and_then(|part| part.context().extension::<NoBody>())
                .is_some_and(|no_body| no_body.is_so(head.status));
        let followed = match empty || source.is_complete() {
            true => Followed::complete(watch, source),
            false => Followed::new(source, watch),
        };
        Response::from_parts(head, WatchedBody { followed })
    }

    fn inspect_head<T>(&mut self, inspect: impl FnOnce(ResponseHead<'_>) -> T) -> Option<T> {
        // `Parts` exist only on their own, so the head moves out and back.
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.version) = (self.status(), self.version());
        mem::swap(&mut head.headers, self.headers_mut());
        mem::swap(&mut head.extensions, self.extensions_mut());
        let result = inspect(ResponseHead::Http(&head));
        *self.headers_mut() = head.headers;
        *self.extensions_mut() = head.extensions;
        Some(result)
    }
}

impl<B> Items for Source<B>
where
    B: Body,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    type Item = Frame<B::Data>;

    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Self::Item, ToolError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if frame.is_trailers() {
                *this.remaining = Some(0);
            } else if let Some(remaining) = this.remaining {
                *remaining = remaining.saturating_sub(length(frame) as u64);
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(ToolError::from_error)))
    }

    fn seen(item: &Self::Item) -> Item<'_> {
        match item.trailers_ref() {
            Some(trailers) => Item::Trailers(trailers),
            None => Item::Frame(length(item)),
        }
    }

    fn is_complete(&self) -> bool {
        self.remaining == Some(0) || self.body.is_end_stream()
    }
}

fn length<D: Buf>(frame: &Frame<D>) -> usize {
    frame.data_ref().map_or(0, Buf::remaining)
}

impl<B, W: Watch> Body for WatchedBody<B, W>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    type Data = B::Data;
    type Error = ToolError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().followed.poll_item(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.followed
            .peek(|source| source.is_some_and(|source| source.body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        self.followed
            .peek(|source| source.map_or_else(SizeHint::default, |source| source.body.size_hint()))
    }
}

impl<B: Body, W: Watch> fmt::Debug for WatchedBody<B, W>
where
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody").finish_non_exhaustive()
    }
}
