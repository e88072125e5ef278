use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use toolbooth::{BoxError, ToolError, ToolRequest};
use tower_layer::Layer;
use tower_service::Service;

use super::errors::channel_error;
use super::future::ChannelFuture;
use super::propagate::propagate;
use crate::timeout::limit_timeout;

/// Passes the deadline of a call on to the server, and converts the errors of a channel: the
/// innermost layer around a channel. See the [module](super).
///
/// - The header `grpc-timeout` becomes the shortest of three times: the one that the request has,
///   the time until the [deadline](toolbooth::CallContext::deadline) of the call, and
///   [`with_timeout`](Self::with_timeout). The limit of an outer `TimeoutLayer` is part of the
///   deadline. A `Channel` also ends the call at that time, up to the head of the response.
/// - The headers `traceparent` and `tracestate` become the trace context of the call, unless the
///   request has them.
/// - An error of the channel is converted as by [`tool_error`](crate::tool_error): a timeout is a
///   `Timeout`, and a failed connection is retryable. A response with a status is no error: circuit
///   breakers and events read the status in its head or its trailers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelLayer {
    timeout: Option<Duration>,
}

/// A channel inside of layers of toolbooth. Made by [`ChannelLayer`].
#[derive(Debug, Clone)]
pub struct GrpcChannel<S> {
    inner: S,
    timeout: Option<Duration>,
}

// === impl ChannelLayer ===

impl ChannelLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self { timeout: None }
    }

    /// Sets the maximum of `grpc-timeout`. By default, and with `None`, there is none.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }
}

impl<S> Layer<S> for ChannelLayer {
    type Service = GrpcChannel<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcChannel {
            inner,
            timeout: self.timeout,
        }
    }
}

// === impl GrpcChannel ===

impl<S> GrpcChannel<S> {
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

impl<S, B, RB> Service<Request<B>> for GrpcChannel<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<RB>;
    type Error = ToolError;
    type Future = ChannelFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| channel_error(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let context = request.context().clone();
        propagate(&context, request.headers_mut());
        if let Some(timeout) = self.timeout {
            limit_timeout(request.headers_mut(), timeout);
        }
        ChannelFuture::new(self.inner.call(request))
    }
}
