//! `http::Request` as a call and `http::Response` as an answer.
//!
//! A body ends for its call at the first of these: it says so (`is_end_stream`), its declared length is
//! delivered, it gives trailers, `None` or an error, it is cut, it is dropped. Servers do not poll every body to
//! its `None`: they drop one of a declared length behind its last byte, and one with trailers behind these;
//! the body of an answer to HEAD, of a 204 or of a 304 they never poll. So the context of a call remembers what was asked by HEAD or CONNECT.

mod no_body;
mod request;
mod response;

pub use request::{CallDeadline, ToolName};
pub use response::WatchedBody;
