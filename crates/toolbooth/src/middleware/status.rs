//! Which statuses of HTTP and of gRPC are failures of the service.

use http::{HeaderMap, StatusCode};
use toolbooth_core::Name;

/// The codes of gRPC that are failures, with their names.
const GRPC_FAILURES: [(i32, &str); 5] = [
    (2, "UNKNOWN"),
    (4, "DEADLINE_EXCEEDED"),
    (13, "INTERNAL"),
    (14, "UNAVAILABLE"),
    (15, "DATA_LOSS"),
];

/// Returns the code of gRPC in a head or in trailers. A malformed code is 2, unknown.
pub(crate) fn grpc_code(headers: &HeaderMap) -> Option<i32> {
    const UNKNOWN: i32 = 2;
    let code = headers.get("grpc-status")?.to_str().ok();
    Some(code.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN))
}

/// Returns whether a status of HTTP is a failure: 500 to 599, and 408 Request Timeout.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// Returns the name of a code of gRPC that is a failure.
pub(crate) fn grpc_failure(code: i32) -> Option<&'static str> {
    let failure = GRPC_FAILURES.iter().find(|(failure, _)| *failure == code);
    failure.map(|(_, name)| *name)
}

/// Returns the failure in the head of a response, as `error.type` of OpenTelemetry: the name of the
/// code of gRPC if there is one, otherwise the status of HTTP.
pub(crate) fn failure_of_head(head: &http::response::Parts) -> Option<Name> {
    match grpc_code(&head.headers) {
        Some(code) => grpc_failure(code).map(Name::from_static),
        None if is_failure(head.status) => Some(head.status.as_str().into()),
        None => None,
    }
}

/// Returns the failure in the trailers of a response, as [`failure_of_head`].
pub(crate) fn failure_of_trailers(trailers: &HeaderMap) -> Option<Name> {
    grpc_failure(grpc_code(trailers)?).map(Name::from_static)
}
