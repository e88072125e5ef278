use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;
use tonic::Status;
use toolbooth::{BoxError, ToolError};

use super::body::ClientBody;
use super::errors::{channel_error, client_status};

pin_project! {
    /// The future of [`GrpcClient`](super::GrpcClient).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
    }
}

pin_project! {
    /// The future of [`GrpcChannel`](super::GrpcChannel).
    #[must_use = "dropping it ends the call"]
    pub struct ChannelFuture<F> {
        #[pin]
        inner: F,
    }
}

// === impl ResponseFuture ===

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F) -> Self {
        Self { inner }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<ClientBody<B>>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.project().inner.poll(cx);
        result.map(|result| match result {
            Ok(response) => Ok(response.map(ClientBody::new)),
            Err(error) => Err(client_status(error.into())),
        })
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ChannelFuture ===

impl<F> ChannelFuture<F> {
    pub(super) const fn new(inner: F) -> Self {
        Self { inner }
    }
}

impl<F, B, E> Future for ChannelFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, ToolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.project().inner.poll(cx);
        result.map_err(|error| channel_error(error.into()))
    }
}

impl<F> fmt::Debug for ChannelFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelFuture").finish_non_exhaustive()
    }
}
