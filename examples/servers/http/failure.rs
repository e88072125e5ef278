use std::future::{Ready, ready};

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use toolbooth::ToolError;

/// Converts an error into an HTTP response: status, headers and body.
///
/// As the error type of a handler, it supports `?` on the results of tools.
#[derive(Debug, Clone)]
pub struct Failure(ToolError);

/// Converts an error of the layers, for `HandleErrorLayer`.
pub(super) fn handle_error(error: ToolError) -> Ready<Failure> {
    ready(Failure(error))
}

// === impl Failure ===

impl From<ToolError> for Failure {
    fn from(error: ToolError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let body = Json(json!({
            "kind": error.kind().as_str(),
            "message": error.public_message(),
            "tool": error.tool(),
            "call_id": error.call_id(),
            "retryable": error.is_retryable(),
        }));
        let mut response = (error.status(), body).into_response();
        if let Some(seconds) = error.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
