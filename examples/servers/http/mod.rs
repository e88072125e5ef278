//! The tools as an axum application: one route answers JSON, one streams a body, one sends events.

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

/// The whole application: the routes, and the limits around them.
pub fn app(tools: Toolbox, limits: &Limits) -> Router {
    around(routes(tools), limits)
}

/// The limits around all routes that are there by now. The same value around several routes, or several
/// routers, is one limit for them together.
pub fn around(routes: Router, limits: &Limits) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .layer(MapRequestLayer::new(named))
            // axum wants services that do not fail: whatever the layers return becomes an answer here.
            .layer(HandleErrorLayer::new(failure::answer))
            .layer(limits.layers()),
    )
}

/// Names the tool after the route: of those there are few, while the path is the client's choice.
fn named<B>(mut request: Request<B>) -> Request<B> {
    let route = request.extensions().get::<MatchedPath>();
    if let Some(name) = route.map(|route| ToolName::new(route.as_str())) {
        request.extensions_mut().insert(name);
    }
    request
}
