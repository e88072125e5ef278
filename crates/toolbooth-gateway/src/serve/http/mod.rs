//! The HTTP edge: connections, the checks of each request, and its tenant.

mod body;
mod listener;
mod origin;

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

pub(crate) use self::body::Budget;
pub(crate) use self::listener::{ConnectionSettings, Ends, Listener, Respond};
pub(crate) use self::origin::Origins;
use super::log_limit::LogLimit;
use super::tenants::{Denied, NoToken, Tenants};

/// What is served to clients.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) origins: Origins,
    pub(crate) tenants: Arc<Tenants>,
    /// Requests without a valid token: one line in a second.
    pub(crate) failures: LogLimit,
    /// The responses that are not complete, apart from those to GET: a client of MCP receives
    /// notifications on such a stream for as long as it wants.
    pub(crate) open: TaskTracker,
}

// === impl Front ===

impl Respond for Front {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(reason) = self.origins.check(&request) {
            tracing::debug!(reason, "a request was rejected");
            return reply(StatusCode::FORBIDDEN, reason);
        }
        let tenant = match self.tenants.of(request.headers()) {
            Ok(tenant) => tenant,
            Err(Denied::Token(reason)) => return self.unauthorized(reason),
            Err(Denied::Failed(error)) => {
                tracing::error!(%error, "the tools of a tenant cannot be shown");
                return reply(StatusCode::INTERNAL_SERVER_ERROR, "an internal error");
            }
        };
        let open = (request.method() != Method::GET).then(|| self.open.token());
        let (mut request, share) = match tenant.budget().read(request).await {
            Ok(read) => read,
            Err((status, reason)) => return rejected(status, reason),
        };
        // No inner service needs the token.
        request.headers_mut().remove(http::header::AUTHORIZATION);
        let response = tenant.respond(request).await;
        response.map(|body| Body::new(share.until_end_of(body, open)))
    }
}

impl Front {
    fn unauthorized(&self, reason: NoToken) -> Response<Body> {
        if let Some(suppressed) = self.failures.permit() {
            tracing::warn!(?reason, suppressed, "requests had no valid token");
        }
        unauthorized(reason)
    }
}

/// Makes the response to a request without a valid token (RFC 6750, 3).
pub(crate) fn unauthorized(reason: NoToken) -> Response<Body> {
    let challenge = match reason {
        NoToken::Missing => "Bearer realm=\"toolbooth\"",
        NoToken::Invalid => "Bearer realm=\"toolbooth\", error=\"invalid_token\"",
    };
    let mut response = reply(StatusCode::UNAUTHORIZED, "a valid bearer token is needed");
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Makes a response of one line.
pub(crate) fn reply(status: StatusCode, text: impl fmt::Display) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the response to a request whose body was not read. The connection cannot be used again.
fn rejected(status: StatusCode, reason: &'static str) -> Response<Body> {
    let mut response = reply(status, reason);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
