use std::task::{Context, Poll};

use axum::extract::MatchedPath;
use axum::http::Request;
use toolbooth::ToolName;
use tower_layer::Layer;
use tower_service::Service;

/// Names the tool of a request after its route, such as `/users/{id}`, for the layers of toolbooth
/// inside.
///
/// Names are keys of limits and labels of metrics. The client chooses the path, but the number of
/// routes is bounded. A request that matches no route keeps the default name, its method and `*`,
/// and so does one that has a [`ToolName`] already.
///
/// Add it by `Router::layer` or `Router::route_layer`, outside of the layers of toolbooth: axum
/// knows the route there.
///
/// ```
/// use std::time::Duration;
/// use axum::Router;
/// use axum::error_handling::HandleErrorLayer;
/// use axum::routing::get;
/// use toolbooth::{PerTool, TimeoutLayer};
/// use toolbooth_axum::{RouteNameLayer, handle_error};
/// use tower::ServiceBuilder;
///
/// let second = Duration::from_secs(1);
/// let limits = PerTool::new(second).with("/reports/{id}", 30 * second);
/// let app: Router = Router::new()
///     .route("/reports/{id}", get(async || "42 rows"))
///     .route("/status", get(async || "up"))
///     .layer(
///         ServiceBuilder::new()
///             .layer(RouteNameLayer::new())
///             .layer(HandleErrorLayer::new(handle_error))
///             .layer(TimeoutLayer::new(limits)),
///     );
/// # let _ = app;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RouteNameLayer;

/// Names the tool of a request after its route. Made by [`RouteNameLayer`].
#[derive(Debug, Clone)]
pub struct RouteNameService<S> {
    inner: S,
}

// === impl RouteNameLayer ===

impl RouteNameLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RouteNameLayer {
    type Service = RouteNameService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteNameService { inner }
    }
}

// === impl RouteNameService ===

impl<S> RouteNameService<S> {
    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B> Service<Request<B>> for RouteNameService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    /// As ready as the inner service.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions_mut();
        if extensions.get::<ToolName>().is_none()
            && let Some(route) = extensions.get::<MatchedPath>()
        {
            let name = ToolName::new(route.as_str());
            extensions.insert(name);
        }
        self.inner.call(request)
    }
}
