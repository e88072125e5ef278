use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tonic::Status;
use toolbooth::BoxError;

use super::body::ServerBody;
use crate::status::status_of;

pin_project! {
    /// The future of [`GrpcServer`](super::GrpcServer).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] future: F },
        // The inner service did not become ready. `None` once the response is returned.
        Failed { status: Option<Status> },
    }
}

// === impl ResponseFuture ===

impl<F> ResponseFuture<F> {
    pub(super) const fn called(future: F) -> Self {
        Self {
            state: State::Called { future },
        }
    }

    pub(super) const fn failed(status: Status) -> Self {
        Self {
            state: State::Failed {
                status: Some(status),
            },
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + 'static,
{
    type Output = Result<Response<ServerBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let status = match self.project().state.project() {
            StateProj::Called { future } => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(ServerBody::of(response))),
                Err(error) => status_of(error.into()),
            },
            StateProj::Failed { status } => match status.take() {
                Some(status) => status,
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(ServerBody::ended(&status)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
