//! The tools as an axum application, with routes for JSON, a streaming body and server-sent events.

mod routes;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use toolbooth_axum::{FinalEventLayer, RouteNameLayer, handle_error};
use tower::ServiceBuilder;

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
            // The number of routes is bounded; the client chooses the path.
            .layer(RouteNameLayer::new())
            // Events that a limit ends early have a last event.
            .layer(FinalEventLayer::new())
            // axum needs infallible services: errors of the layers become responses here.
            .layer(HandleErrorLayer::new(handle_error))
            .layer(limits.layers()),
    )
}
