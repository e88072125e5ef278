use std::fmt;

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri};

use super::request::context_of;
use crate::call::CallContext;

/// The head of an `http::Request`: what a layer can choose a key by.
///
/// ```
/// use http::Request;
/// use toolbooth_core::ToolRequest;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = Request::get("/users/7/notes?page=2").header("x-api-key", "k1").body(())?;
/// let head = request.http_head().ok_or("a request of HTTP")?;
/// assert_eq!(head.header("x-api-key"), Some("k1"));
/// assert_eq!(head.path_segment(1), Some("7"));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

// === impl RequestHead ===

impl<'a> RequestHead<'a> {
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Returns the method.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the URI. A router may have stripped the prefix of a nested route from it.
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// Returns all headers.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the first value of a header. `None` without one, or if it is not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns an extension of the request, such as the address of the peer.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.extensions.get()
    }

    /// Returns the context of the request's call, once it is made: by the outermost layer, or by
    /// [`ToolRequest::context`](crate::ToolRequest::context).
    ///
    /// A handler that calls tools makes [child calls](CallContext::child) of it. They share the
    /// permits of the request, and end with it.
    #[must_use]
    pub fn context(&self) -> Option<&'a CallContext> {
        context_of(self.extensions)
    }

    /// Returns a segment of the path, from 0, as it was sent: percent-encoding is not decoded.
    #[must_use]
    pub fn path_segment(&self, index: usize) -> Option<&'a str> {
        let path = self.uri.path();
        path.strip_prefix('/')?.split('/').nth(index)
    }
}

impl<'a> From<&'a Parts> for RequestHead<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// Shows no headers and no query: they may have secrets.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}
