use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use tonic::codegen::http::{HeaderMap, Response};
use toolbooth::ToolError;

use super::status;

/// A body that ends with a gRPC status if the inner body ends with an error.
///
/// The head of the response has been sent by then. Without the status the stream would be reset,
/// and the client could not distinguish an expired limit from a broken server.
#[derive(Debug)]
pub struct EndsInStatus<B> {
    inner: Pin<Box<B>>,
    ended: bool,
}

pub(super) fn end_in_status<B>(response: Response<B>) -> Response<EndsInStatus<B>> {
    response.map(|body| EndsInStatus {
        inner: Box::pin(body),
        ended: false,
    })
}

// === impl EndsInStatus ===

impl<B: Body<Error = ToolError>> Body for EndsInStatus<B> {
    type Data = B::Data;
    type Error = ToolError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, ToolError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let error = match ready!(self.inner.as_mut().poll_frame(cx)) {
            Some(Err(error)) => error,
            frame => return Poll::Ready(frame),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let added = status(&error).add_header(&mut trailers);
        Poll::Ready(Some(match added {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(_) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
