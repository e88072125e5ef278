//! The address of the operator.
//!
//! | Path | Response |
//! |---|---|
//! | `/health` | 200 while the process serves. |
//! | `/ready` | 200, or 503 while it starts or drains, or no server is connected. JSON of the servers. |
//! | `/metrics` | The text format of Prometheus. |
//! | `/timeline/` | The page of the latest calls, live. |

mod metrics;
mod ready;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use toolbooth_timeline::TimelineService;
use tower::ServiceExt;

pub(crate) use self::metrics::{Metrics, upkeep};
pub(crate) use self::ready::Readiness;
use super::http::{Origins, Respond, reply, unauthorized};
use super::log_limit::LogLimit;
use super::tenants::Tokens;

/// What is served to the operator.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) origins: Origins,
    /// `None`: the address is loopback, and needs no token.
    pub(crate) tokens: Option<Tokens>,
    pub(crate) failures: LogLimit,
    pub(crate) router: Router,
}

// === impl Admin ===

impl Respond for Admin {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(reason) = self.origins.check(&request) {
            return reply(StatusCode::FORBIDDEN, reason);
        }
        let owner = self
            .tokens
            .as_ref()
            .map(|tokens| tokens.owner(request.headers()));
        if let Some(Err(reason)) = owner {
            if let Some(suppressed) = self.failures.permit() {
                tracing::warn!(
                    ?reason,
                    suppressed,
                    "requests of the operator had no valid token"
                );
            }
            return unauthorized(reason);
        }
        // No path reads a body.
        let request = request.map(|_| Body::empty());
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Makes the routes.
pub(crate) fn router(
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
    timeline: TimelineService,
) -> Router {
    let ready = move || {
        let readiness = Arc::clone(&readiness);
        async move { ready_response(&readiness) }
    };
    let scrape = move || {
        let text = metrics.render();
        async move {
            typed(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text,
            )
        }
    };
    Router::new()
        .route("/health", get(async || reply(StatusCode::OK, "ok")))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/timeline", get(async || Redirect::permanent("/timeline/")))
        .nest_service("/timeline/", timeline)
        .fallback(async || {
            let paths = "there are /health, /ready, /metrics and /timeline/";
            reply(StatusCode::NOT_FOUND, paths)
        })
}

fn ready_response(readiness: &Readiness) -> Response<Body> {
    let (is_ready, json) = readiness.report();
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    typed(status, "application/json", json.to_string())
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
