use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tonic::{GrpcMethod, Status};
use toolbooth::{BoxError, CallDeadline, Name, ToolName};
use tower_service::Service;

use super::body::ClientBody;
use super::errors::client_status;
use super::future::ResponseFuture;
use crate::timeout::timeout_of;

/// Layers of toolbooth in the place of a channel. Made by [`ClientLayer`](super::ClientLayer).
#[derive(Debug, Clone)]
pub struct GrpcClient<S> {
    inner: S,
}

// === impl GrpcClient ===

impl<S> GrpcClient<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
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

impl<S, B, RB> Service<Request<B>> for GrpcClient<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    RB: Body,
    RB::Error: Into<BoxError>,
{
    type Response = Response<ClientBody<RB>>;
    type Error = Status;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| client_status(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        prepare(&mut request);
        ResponseFuture::new(self.inner.call(request))
    }
}

/// Adds the extensions from which the context of the call is made.
fn prepare<B>(request: &mut Request<B>) {
    let extensions = request.extensions();
    if extensions.get::<ToolName>().is_none() {
        let method = extensions.get::<GrpcMethod<'static>>();
        if let Some(name) = method.map(name_of) {
            request.extensions_mut().insert(ToolName::new(name));
        }
    }
    if request.extensions().get::<CallDeadline>().is_none() {
        let timeout = timeout_of(request.headers());
        if let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
            let deadline = CallDeadline::new(deadline);
            request.extensions_mut().insert(deadline);
        }
    }
}

fn name_of(method: &GrpcMethod<'static>) -> Name {
    Name::from(format_args!("{}/{}", method.service(), method.method()))
}
