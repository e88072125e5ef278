//! The tools as an axum application, with routes for JSON, a streaming body and server-sent events.

mod failure;
mod routes;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::MatchedPath;
use axum::http::Request;
use toolbooth::ToolName;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;

pub use failure::Failure;
pub(super) use routes::paced;
pub use routes::routes;

use super::{Limits, Toolbox};

/// Makes the application: the routes with the limits.
pub fn app(tools: Toolbox, limits: &Limits) -> Router {
    around(routes(tools), limits)
}

/// Adds the limits to all routes that `routes` has so far. Several routes or routers with the same
/// value share one limit.
pub fn around(routes: Router, limits: &Limits) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .layer(MapRequestLayer::new(named))
            // axum needs infallible services: errors of the layers become responses here.
            .layer(HandleErrorLayer::new(failure::handle_error))
            .layer(limits.layers()),
    )
}

/// Names the tool after the route. The number of routes is bounded; the client chooses the path.
fn named<B>(mut request: Request<B>) -> Request<B> {
    let route = request.extensions().get::<MatchedPath>();
    if let Some(name) = route.map(|route| ToolName::new(route.as_str())) {
        request.extensions_mut().insert(name);
    }
    request
}
