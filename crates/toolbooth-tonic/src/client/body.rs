use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use toolbooth::BoxError;

use super::errors::client_status;

pin_project! {
    /// The body of a response, whose error is a status.
    #[must_use = "dropping it ends the call"]
    pub struct ClientBody<B> {
        #[pin]
        inner: B,
    }
}

// === impl ClientBody ===

impl<B> ClientBody<B> {
    pub(super) const fn new(inner: B) -> Self {
        Self { inner }
    }
}

impl<B> Body for ClientBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let frame = self.project().inner.poll_frame(cx);
        frame.map_err(|error| client_status(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for ClientBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}
