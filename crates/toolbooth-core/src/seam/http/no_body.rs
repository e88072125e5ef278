use http::{Method, StatusCode};

/// An extension of a call whose response has no body, although a response to GET may have one.
#[derive(Debug)]
pub(super) enum NoBody {
    /// The request is a HEAD.
    Head,
    /// The request is a CONNECT: a tunnel follows a success.
    Connect,
}

// === impl NoBody ===

impl NoBody {
    pub(super) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::HEAD => Some(Self::Head),
            Method::CONNECT => Some(Self::Connect),
            _ => None,
        }
    }

    pub(super) fn is_so(&self, status: StatusCode) -> bool {
        match self {
            Self::Head => true,
            Self::Connect => status.is_success(),
        }
    }
}
