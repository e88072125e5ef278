//! What a predicate on failures sees of a call, and the predicates that are provided.

#[cfg(feature = "http")]
use http::{HeaderMap, StatusCode};
use toolbooth_core::{Outcome, ToolError, ToolOutput};

#[cfg(feature = "http")]
use crate::middleware::status;

/// What the tool returned: the argument of a [predicate](super::BreakerPolicy::with_failures).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CallResult<'a> {
    /// The tool returned this error, or timed out.
    ///
    /// The kind is any but `Panicked`: a tool may return `RateLimited` or `InvalidArguments`.
    Error(&'a ToolError),
    /// The tool returned this response. Of a streaming response, everything but the stream.
    Response(&'a ToolOutput),
    /// The HTTP service returned a response with this head.
    #[cfg(feature = "http")]
    Http(&'a http::response::Parts),
    /// An HTTP response ended with these trailers. The head was no failure.
    #[cfg(feature = "http")]
    Trailers(&'a HeaderMap),
}

/// Predicates on failures, for [`BreakerPolicy::with_failures`](super::BreakerPolicy::with_failures).
///
/// A predicate is a function, so it can be called within another one:
///
/// ```
/// use toolbooth::BreakerPolicy;
/// use toolbooth::breaker::Failures;
///
/// // Responses that report an error are failures, too.
/// let failures = Failures::http();
/// let policy = BreakerPolicy::new()
///     .with_failures(move |result| failures(result) || result.is_error_response());
/// # drop(policy);
/// ```
///
/// Each of them counts the same errors: a timeout, and an
/// [`ErrorKind::Tool`](crate::ErrorKind::Tool) that [is an outage](ToolError::is_outage).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Failures;

// === impl CallResult ===

impl<'a> CallResult<'a> {
    /// Returns the error, if the tool returned one or timed out.
    #[must_use]
    pub const fn error(&self) -> Option<&'a ToolError> {
        match self {
            Self::Error(error) => Some(error),
            _ => None,
        }
    }

    /// Returns whether this is a response of a tool that [reports a
    /// failure](ToolOutput::is_error), as MCP's `isError` does.
    #[must_use]
    pub const fn is_error_response(&self) -> bool {
        match self {
            Self::Response(output) => output.is_error(),
            _ => false,
        }
    }

    /// Returns the exit code of a program, from the metadata of its buffered response.
    ///
    /// `None` for a program that a signal ended. The error of a program whose lines are streamed
    /// has its exit status in the source. It [is no outage](ToolError::is_outage) either.
    #[must_use]
    pub fn exit_code(&self) -> Option<i64> {
        match self {
            Self::Response(output) => output.meta()?.get("exit_code")?.as_i64(),
            _ => None,
        }
    }

    /// Returns the status of an HTTP response.
    #[cfg(feature = "http")]
    #[must_use]
    pub const fn http_status(&self) -> Option<StatusCode> {
        match self {
            Self::Http(head) => Some(head.status),
            _ => None,
        }
    }

    /// Returns the code of gRPC, 0 for success, from the head or the trailers of an HTTP response.
    ///
    /// `None` for a head without one, whose code is in the trailers. A malformed code is 2,
    /// unknown.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn grpc_status(&self) -> Option<i32> {
        let headers = match self {
            Self::Http(head) => &head.headers,
            Self::Trailers(trailers) => *trailers,
            Self::Error(_) | Self::Response(_) => return None,
        };
        status::grpc_code(headers)
    }

    /// Returns whether the error is one of the tool's work: it failed or timed out.
    fn is_failed_work(&self) -> bool {
        self.error().is_some_and(|error| match error.outcome() {
            Outcome::TimedOut => true,
            Outcome::Failed => error.is_outage(),
            _ => false,
        })
    }
}

// === impl Failures ===

impl Failures {
    /// Returns a predicate on the status of HTTP: 500 to 599, and 408 Request Timeout.
    ///
    /// No failures: 429, by which the service [requests fewer
    /// calls](super::BreakerPolicy::with_cool_down), and all other statuses below 500.
    pub fn http() -> impl Fn(CallResult<'_>) -> bool + Copy + Send + Sync + 'static {
        is_http_failure
    }

    /// Returns a predicate on the code of gRPC, and on the status of HTTP of a response without a
    /// code: 2 unknown, 4 deadline exceeded, 13 internal, 14 unavailable and 15 data loss. It is
    /// the default.
    ///
    /// No failures: 8 resource exhausted, by which the service requests fewer calls, and all other
    /// codes, which are about the call and not about the service.
    pub fn grpc() -> impl Fn(CallResult<'_>) -> bool + Copy + Send + Sync + 'static {
        is_failure
    }
}

/// The predicate that is used if none is set.
pub(super) fn is_failure(result: CallResult<'_>) -> bool {
    #[cfg(feature = "http")]
    if let Some(code) = result.grpc_status() {
        return status::grpc_failure(code).is_some();
    }
    is_http_failure(result)
}

fn is_http_failure(result: CallResult<'_>) -> bool {
    #[cfg(feature = "http")]
    if let Some(status) = result.http_status() {
        return status::is_failure(status);
    }
    result.is_failed_work()
}
