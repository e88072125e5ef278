use http::{Method, StatusCode};

/// An extension of the call whose answer has no body, even where an answer to GET would have one.
#[derive(Debug)]
pub(super) enum NoBody {
    /// Asked by HEAD.
    Head,
    /// Asked by CONNECT: what follows a success is a tunnel.
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
