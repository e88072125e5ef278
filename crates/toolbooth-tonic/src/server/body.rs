use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use toolbooth::{BoxError, ToolResponse};

use crate::status::{headers_of, status_of};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

pin_project! {
    /// The body of a response of gRPC, which ends with a status in trailers if the inner body ends
    /// with an error.
    ///
    /// The inner body is dropped before the trailers are returned.
    #[must_use = "dropping it ends the call"]
    pub struct ServerBody<B> {
        // `None` after an error.
        #[pin]
        inner: Option<B>,
        is_grpc: bool,
    }
}

// === impl ServerBody ===

impl<B> ServerBody<B> {
    /// Returns a response of a status alone.
    pub(super) fn ended(status: &Status) -> Response<Self> {
        let mut response = Response::new(Self {
            inner: None,
            is_grpc: true,
        });
        let headers = response.headers_mut();
        *headers = headers_of(status);
        headers.insert(CONTENT_TYPE, GRPC);
        response
    }
}

impl<B> ServerBody<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    pub(super) fn of(mut response: Response<B>) -> Response<Self> {
        let is_grpc = response.inspect_head(|head| head.is_grpc());
        let is_grpc = is_grpc.unwrap_or(false);
        response.map(|body| Self {
            inner: Some(body),
            is_grpc,
        })
    }
}

impl<B> Body for ServerBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let error = match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => error.into(),
            None => return Poll::Ready(None),
        };
        this.inner.set(None);
        Poll::Ready(Some(match this.is_grpc {
            true => Ok(Frame::trailers(headers_of(&status_of(error)))),
            false => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.inner.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<B> fmt::Debug for ServerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBody")
            .field("is_ended", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}
