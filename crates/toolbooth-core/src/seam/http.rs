//! `http::Request` as a call and `http::Response` as an answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::follow::{Followed, Pieces};
use super::{Piece, ToolRequest, ToolResponse, Watch};
use crate::call::{CallContext, Name};
use crate::error::{BoxError, ToolError};

/// In the extensions of an `http::Request`: the name of the tool that the request calls.
///
/// Without it the name is the method and `*`, since the path is chosen by the client, and every
/// name is a key and a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolName(Name);

/// The context of a request's call; a clone of the request is another attempt.
struct Slot(CallContext);

pin_project! {
    /// The body of an answer that layers follow to its end.
    ///
    /// It ends where its source says so, at its declared length, or with `None`, whichever comes
    /// first; what follows then, such as trailers, still passes. An answer that is cut ends in one error.
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
        // Bytes that are still to come, where the length was declared.
        remaining: Option<u64>,
    }
}

// === impl ToolName ===

impl ToolName {
    /// A tool of this name.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self(name.into())
    }
}

// === impl Slot ===

impl Clone for Slot {
    fn clone(&self) -> Self {
        Self(self.0.fork())
    }
}

// === impl Request ===

impl<B> ToolRequest for Request<B> {
    fn tool_name(&self) -> &str {
        match self.extensions().get::<Slot>() {
            Some(Slot(context)) => context.tool(),
            None => name_of(self),
        }
    }

    fn context(&mut self) -> &CallContext {
        if self.extensions().get::<Slot>().is_none() {
            let name = match self.extensions().get::<ToolName>() {
                Some(ToolName(name)) => name.clone(),
                None => Name::from_static(name_of_method(self.method())),
            };
            self.extensions_mut().insert(Slot(CallContext::new(name)));
        }
        let Slot(context) = self.extensions().get().expect("it was put there above");
        context
    }
}

fn name_of<B>(request: &Request<B>) -> &str {
    match request.extensions().get::<ToolName>() {
        Some(ToolName(name)) => name,
        None => name_of_method(request.method()),
    }
}

fn name_of_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET *",
        "POST" => "POST *",
        "PUT" => "PUT *",
        "DELETE" => "DELETE *",
        "HEAD" => "HEAD *",
        "OPTIONS" => "OPTIONS *",
        "PATCH" => "PATCH *",
        "CONNECT" => "CONNECT *",
        "TRACE" => "TRACE *",
        // Methods of their own are chosen by the client, too.
        _ => "* *",
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

    fn watch<W: Watch>(self, watch: W) -> Self::Watched<W> {
        let (head, body) = self.into_parts();
        let declared = head.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let source = Source {
            remaining: body.size_hint().exact().or(declared),
            body,
        };
        let empty = head.status.is_informational()
            || head.status == StatusCode::NO_CONTENT
            || head.status == StatusCode::NOT_MODIFIED;
        // An upgrade goes on behind its head: what is watched is the exchange that led to it.
        let followed = match empty || source.is_complete() {
            true => Followed::complete(watch, source),
            false => Followed::new(source, watch),
        };
        Response::from_parts(head, WatchedBody { followed })
    }
}

impl<B> Pieces for Source<B>
where
    B: Body,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    type Piece = Frame<B::Data>;

    fn poll_piece(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Self::Piece, ToolError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let (Some(remaining), Some(Ok(frame))) = (this.remaining, &frame) {
            *remaining = remaining.saturating_sub(length(frame) as u64);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(ToolError::from_error)))
    }

    fn told(piece: &Self::Piece) -> Piece<'_> {
        Piece::Frame(length(piece))
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
        self.project().followed.poll_piece(cx)
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
