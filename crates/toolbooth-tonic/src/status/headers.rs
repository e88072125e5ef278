use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The code of an internal error.
const INTERNAL: HeaderValue = HeaderValue::from_static("13");

/// Returns the headers or trailers of a status. One that headers cannot represent is `INTERNAL`.
pub(crate) fn headers_of(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        headers.clear();
        headers.insert(GRPC_STATUS, INTERNAL);
    }
    headers
}
