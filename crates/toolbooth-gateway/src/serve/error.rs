use std::io;
use std::net::SocketAddr;

use crate::booth::BoothError;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address cannot be used.
    #[error("cannot listen on {address}")]
    #[non_exhaustive]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The tools or their limits are wrong.
    #[error(transparent)]
    Booth(#[from] BoothError),
    /// The store of `[limits]` cannot be used.
    #[error("the store of the shared limits cannot be used")]
    Limits(#[from] toolbooth_redis::ConnectError),
    /// Signals of the system cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// Metrics cannot be recorded.
    #[error("metrics cannot be recorded")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}
