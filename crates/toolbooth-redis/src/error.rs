use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a store cannot be used at all: the URL is not valid, or the server rejects the user.
///
/// A server that does not respond is no such error: the store connects as soon as it does.
#[derive(Debug)]
pub struct ConnectError {
    kind: Kind,
    source: RedisError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Url,
    Rejected,
}

// === impl ConnectError ===

impl ConnectError {
    pub(crate) const fn url(source: RedisError) -> Self {
        Self {
            kind: Kind::Url,
            source,
        }
    }

    /// Returns an error if another attempt to connect cannot succeed either.
    pub(crate) fn permanent(source: &RedisError) -> Option<Self> {
        let detail = source.detail().unwrap_or_default();
        let is_permanent = match source.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::RESP3NotSupported
            | ErrorKind::Server(ServerErrorKind::NoPerm) => true,
            // Such as a database that does not exist.
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                !detail.contains("max number of clients")
            }
            _ => matches!(source.code(), Some("WRONGPASS" | "NOAUTH")),
        };
        is_permanent.then(|| Self {
            kind: Kind::Rejected,
            source: source.clone(),
        })
    }

    /// Returns whether the URL is not valid.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.kind == Kind::Url
    }

    /// Returns whether the server rejects the user, its password or the database.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.kind == Kind::Rejected
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Url => "the URL of the Redis server is not valid",
            Kind::Rejected => "the Redis server rejected the connection",
        })
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
