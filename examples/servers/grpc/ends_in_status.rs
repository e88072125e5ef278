use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use tonic::codegen::http::{HeaderMap, Response};
use toolbooth::ToolError;

use super::status;

/// A body that ends in a gRPC status where its source ends in an error. Its head is long gone by then, and
/// without this the client would see its stream reset, and could not tell a limit from a broken server.
#[derive(Debug)]
pub struct EndsInStatus<B> {
    inner: Pin<Box<B>>,
    ended: bool,
}

pub(super) fn answer<B>(response: Response<B>) -> Response<EndsInStatus<B>> {
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
        let told = status(&error).add_header(&mut trailers);
        Poll::Ready(Some(match told {
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
