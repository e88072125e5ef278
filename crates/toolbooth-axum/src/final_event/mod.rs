//! Ends a stream of server-sent events with an error event, instead of a broken connection.

mod body;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::HttpBody;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use pin_project_lite::pin_project;
use toolbooth::BoxError;
use tower_layer::Layer;
use tower_service::Service;

pub use body::FinalEventBody;

/// Ends server-sent events that expire, are cancelled or fail, with an event `error`. Its data is
/// the [problem](crate::problem).
///
/// The status of a response is sent with its head. A layer of toolbooth that ends a body later
/// closes the connection, and to the client a limit or a shutdown looks like a fault of the
/// network. With this layer around it, a body of the type `text/event-stream` ends regularly, after
/// one more event. Other bodies stay as they are, and so does a body that fails within an event.
///
/// The events of a [`ToolRouter`](crate::ToolRouter) need it only for layers around the router:
/// those of its service end its streams by an event of their own.
///
/// Put it outside of axum's `HandleErrorLayer`.
///
/// ```
/// use axum::Router;
/// use axum::error_handling::HandleErrorLayer;
/// use toolbooth::ShutdownLayer;
/// use toolbooth_axum::{FinalEventLayer, handle_error};
/// use tower::ServiceBuilder;
///
/// # fn main() { let _ = app; }
/// # fn app(routes: Router, shutdown: ShutdownLayer) -> Router {
/// routes.layer(
///     ServiceBuilder::new()
///         .layer(FinalEventLayer::new())
///         .layer(HandleErrorLayer::new(handle_error))
///         .layer(shutdown),
/// )
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FinalEventLayer;

/// Ends server-sent events with an error event. Made by [`FinalEventLayer`].
#[derive(Debug, Clone)]
pub struct FinalEventService<S> {
    inner: S,
}

pin_project! {
    /// The future of a [`FinalEventService`].
    #[derive(Debug)]
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
    }
}

// === impl FinalEventLayer ===

impl FinalEventLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for FinalEventLayer {
    type Service = FinalEventService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FinalEventService { inner }
    }
}

// === impl FinalEventService ===

impl<S> FinalEventService<S> {
    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for FinalEventService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError> + 'static,
{
    type Response = Response<FinalEventBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    /// As ready as the inner service.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture {
            inner: self.inner.call(request),
        }
    }
}

// === impl ResponseFuture ===

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<FinalEventBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx))?;
        let has_events = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.to_str().unwrap_or_default();
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        });
        Poll::Ready(Ok(
            response.map(|body| FinalEventBody::new(body, has_events))
        ))
    }
}
