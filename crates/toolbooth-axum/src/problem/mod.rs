//! Errors as problem details: `application/problem+json`, [RFC 9457].
//!
//! # JSON
//! The standard members, and these of toolbooth. Members that are not known are left out.
//!
//! | Member | Meaning |
//! |---|---|
//! | `type` | `about:blank`, or the URI of [`Problem::with_type`]. |
//! | `title` | The reason phrase of the status, as [RFC 9457, 4.2.1] recommends for `about:blank`. |
//! | `status` | The status of the response. |
//! | `detail` | What happened, for a person: [`ToolError::public_message`] of an error of a call. |
//! | `instance` | The URI of [`Problem::with_instance`]. |
//! | `kind` | A stable name for programs: see below. |
//! | `tool`, `call_id` | The call. |
//! | `started` | Whether the tool had been called. Then it may have had effects. |
//! | `retryable` | Whether the same call may succeed later. |
//! | `retry_after_ms` | The time until then, if known. The header `Retry-After` has it in seconds, rounded up. |
//! | `nearest` | Of an unknown tool, the most similar names. |
//! | `partial` | The partial result, in the JSON of [`Partial`](toolbooth::Partial). |
//!
//! The member `kind` is the [kind](toolbooth::ErrorKind::as_str) of an error of a call, such as
//! `timeout`. The other ones are about the request:
//!
//! | `kind` | Status | Meaning |
//! |---|---|---|
//! | `invalid_arguments` | 400 | The body is not the JSON that the tool takes. |
//! | `invalid_path` | 400 | The path is not UTF-8, or does not fit the route. |
//! | `invalid_header` | 400 | A header that is read has a value that is not allowed. |
//! | `body_interrupted` | 400 | The body ended early. |
//! | `body_timeout` | 408 | The body did not arrive in time. |
//! | `body_too_large` | 413 | The body exceeds the limit. |
//! | `unsupported_media_type` | 415 | The body is not declared as JSON. |
//! | `method_not_allowed` | 405 | The route has other methods. |
//! | `response_too_large` | 500 | The response of the tool exceeds the limit of a buffered one. |
//!
//! `type` is `about:blank` by default, since the status and `kind` have what a client needs, and
//! this crate has no address at which a page could explain more. A program that has one sets it.
//!
//! # What a client reads
//! Texts that are made for clients alone. A panic, the text of a tool's error, the name of a layer
//! and the limits of the operator are not in it: they are in [`Problem::error`], which the response
//! also has as an extension, for a layer that writes a log. The error of a stream comes after its
//! head: it is in an event of an `EventsLayer`.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
//! [RFC 9457, 4.2.1]: https://www.rfc-editor.org/rfc/rfc9457#section-4.2.1

mod json;
mod rejection;

use std::fmt;
use std::future::{Ready, ready};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use toolbooth::{BoxError, ToolError};

/// The media type of problem details.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The maximum number of bytes of a detail that quotes what a client sent.
pub(crate) const MAX_DETAIL: usize = 512;

/// An error response with problem details. See the [module](self).
///
/// As the error type of a handler, it supports `?` on the results of tools and of axum's
/// extractors.
///
/// ```
/// use axum::response::IntoResponse;
/// use std::time::Duration;
/// use toolbooth::ToolError;
/// use toolbooth_axum::Problem;
///
/// let problem = Problem::from(ToolError::rate_limited(Duration::from_millis(1_200)));
/// assert_eq!(
///     serde_json::to_value(&problem)?,
///     serde_json::json!({
///         "type": "about:blank",
///         "title": "Too Many Requests",
///         "status": 429,
///         "detail": "too many calls, try again in 1.2s",
///         "kind": "rate_limited",
///         "started": false,
///         "retryable": true,
///         "retry_after_ms": 1_200,
///     })
/// );
/// let response = problem.into_response();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(response.headers()["retry-after"], "2");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Problem(Box<Fields>);

#[derive(Clone)]
struct Fields {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    type_uri: Option<String>,
    instance: Option<String>,
    members: Map<String, Value>,
    headers: HeaderMap,
    error: Option<ToolError>,
}

/// Converts an error of layers into a response, for axum's `HandleErrorLayer`.
///
/// Any error is accepted, since tower's own layers between those of toolbooth return boxed ones.
///
/// ```
/// use std::time::Duration;
/// use axum::Router;
/// use axum::error_handling::HandleErrorLayer;
/// use axum::routing::get;
/// use toolbooth::TimeoutLayer;
/// use tower::ServiceBuilder;
///
/// let limits = ServiceBuilder::new()
///     .layer(HandleErrorLayer::new(toolbooth_axum::handle_error))
///     .layer(TimeoutLayer::new(Duration::from_secs(5)));
/// let app: Router = Router::new().route("/report", get(async || "42 rows")).layer(limits);
/// # let _ = app;
/// ```
pub fn handle_error<E: Into<BoxError> + 'static>(error: E) -> Ready<Problem> {
    ready(Problem::from(ToolError::from_error(error)))
}

// === impl Problem ===

impl Problem {
    /// Creates a problem that is not the error of a call, with a stable name for programs and a
    /// text for the client.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use axum::http::header::WWW_AUTHENTICATE;
    /// use axum::http::HeaderValue;
    /// use toolbooth_axum::Problem;
    ///
    /// let problem = Problem::new(StatusCode::UNAUTHORIZED, "no_token", "a bearer token is missing")
    ///     .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    /// assert_eq!((problem.status().as_u16(), problem.kind()), (401, "no_token"));
    /// ```
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            status,
            kind,
            detail: detail.into(),
            type_uri: None,
            instance: None,
            members: Map::new(),
            headers: HeaderMap::new(),
            error: None,
        }))
    }

    /// Sets the URI of the problem's type. `about:blank` by default.
    ///
    /// A client that follows it should find a page about problems of this kind.
    #[must_use]
    pub fn with_type(mut self, uri: impl Into<String>) -> Self {
        self.0.type_uri = Some(uri.into());
        self
    }

    /// Sets the URI of this occurrence of the problem. None by default.
    #[must_use]
    pub fn with_instance(mut self, uri: impl Into<String>) -> Self {
        self.0.instance = Some(uri.into());
        self
    }

    /// Adds a member, or replaces the one that was added with this name.
    ///
    /// A member with the name of one in the [table](self#json) is left out of the JSON.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    /// Adds a header to the response, in place of others of this name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the stable name, for programs and for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// Returns what happened, for the client.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Returns the error of the call, with its details for a log.
    #[must_use]
    pub fn error(&self) -> Option<&ToolError> {
        self.0.error.as_ref()
    }

    /// Replaces what the error of a call says about itself.
    pub(crate) fn described(
        mut self,
        status: StatusCode,
        kind: &'static str,
        detail: String,
    ) -> Self {
        (self.0.status, self.0.kind, self.0.detail) = (status, kind, detail);
        self
    }
}

impl From<ToolError> for Problem {
    fn from(error: ToolError) -> Self {
        let kind = error.kind().as_str();
        let mut problem = Self::new(error.status(), kind, error.public_message());
        if let Some(seconds) = error.retry_after_seconds() {
            problem.0.headers.insert(RETRY_AFTER, seconds.into());
        }
        problem.0.error = Some(error);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        let fields = *self.0;
        *response.status_mut() = fields.status;
        *response.headers_mut() = fields.headers;
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(error) = fields.error {
            response.extensions_mut().insert(error);
        }
        response
    }
}

/// Shows the error of the call as its `Debug` does: without arguments and contents.
impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("status", &self.status())
            .field("kind", &self.kind())
            .field("detail", &self.detail())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}
