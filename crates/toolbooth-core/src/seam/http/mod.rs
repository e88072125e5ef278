//! `http::Request` as a call, and `http::Response` as a response.
//!
//! The call ends at the first of these events of the body:
//!
//! - `is_end_stream` returns true.
//! - The declared length is delivered.
//! - The body returns trailers, `None` or an error.
//! - A layer ends it, or it is dropped.
//!
//! Servers do not poll each body to its `None`. They drop a body of a declared length after its
//! last byte, and one with trailers after these. They never poll the body of a response to HEAD, of
//! a 204 or of a 304. So the context of a call stores whether the request was a HEAD or CONNECT.

mod head;
mod no_body;
mod request;
mod response;

pub use head::RequestHead;
pub use request::{CallDeadline, CallPriority, CallTenant, ToolName};
pub use response::WatchedBody;
