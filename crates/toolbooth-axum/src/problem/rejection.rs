//! The rejections of axum's extractors as problems.

use std::fmt::Display;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody, JsonRejection, PathRejection};
use axum::http::StatusCode;
use toolbooth::{BoxError, ToolError};
use toolbooth_core::start_of;

use super::{MAX_DETAIL, Problem};

// === impl Problem ===

impl Problem {
    /// The arguments are not what the tool takes, although the body may be JSON.
    pub(crate) fn invalid_arguments(detail: impl Display) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "invalid_arguments", bounded(&detail.to_string()))
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "the body is not declared as JSON: the header `Content-Type` must be \
                      `application/json`";
        Self::new(status, "unsupported_media_type", detail)
    }

    fn body_too_large() -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(
            status,
            "body_too_large",
            "the body of the request is too large",
        )
    }

    fn body_interrupted() -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(
            status,
            "body_interrupted",
            "the body of the request ended early",
        )
    }

    fn invalid_path() -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "invalid_path", "the path of the request is invalid")
    }

    /// A fault of the program: a handler extracts what its route does not have.
    fn misused(error: impl Into<BoxError>) -> Self {
        Self::from(ToolError::failed(error))
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Self::body_too_large()
            }
            _ => Self::body_interrupted(),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            JsonRejection::MissingJsonContentType(_) => Self::unsupported_media_type(),
            other => Self::invalid_arguments(other.body_text()),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection {
            PathRejection::FailedToDeserializePathParams(_) => Self::invalid_path(),
            other => Self::misused(other),
        }
    }
}

/// Returns the start of a text that may quote what the client sent, in one line.
fn bounded(text: &str) -> String {
    let start = start_of(text, MAX_DETAIL);
    let line = start.chars().map(|char| match char.is_control() {
        true => ' ',
        false => char,
    });
    let mut line: String = line.collect();
    if start.len() < text.len() {
        line.push_str("...");
    }
    line
}
