use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use tonic::Status;
use toolbooth::BoxError;
use tower_service::Service;

use super::body::ServerBody;
use super::future::ResponseFuture;
use super::request::Settings;
use crate::status::status_of;

/// A service of gRPC around layers of toolbooth. Made by [`ServerLayer`](super::ServerLayer).
pub struct GrpcServer<S> {
    inner: S,
    settings: Arc<Settings>,
    /// Why the inner service did not become ready: the response to the next call.
    unready: Option<Status>,
}

// === impl GrpcServer ===

impl<S> GrpcServer<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self {
            inner,
            settings,
            unready: None,
        }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service by value.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, RB> Service<Request<B>> for GrpcServer<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    RB: Body + Send + 'static,
    RB::Data: Send,
    RB::Error: Into<BoxError> + 'static,
{
    type Response = Response<ServerBody<RB>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    /// An error of the inner service becomes the response to the next call.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            self.unready = Some(status_of(error.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(status) = self.unready.take() {
            return ResponseFuture::failed(status);
        }
        self.settings.prepare(&mut request);
        ResponseFuture::called(self.inner.call(request))
    }
}

/// The clone has not been polled for readiness.
impl<S: Clone> Clone for GrpcServer<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.settings))
    }
}

impl<S: fmt::Debug> fmt::Debug for GrpcServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServer")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
