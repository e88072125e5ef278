use std::time::Duration;

use crate::remote::RemoteError;

/// How a remote server is. Made by [`RemoteServer::status`](super::RemoteServer::status).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteStatus {
    /// Whether there is a connection.
    pub is_connected: bool,
    /// The time until a call may make the next attempt to connect. `None` if it may now, and if
    /// there is a connection.
    pub retry_after: Option<Duration>,
    /// How often the connection was set up again.
    pub restarts: u64,
    /// Why the last connection was lost, the last attempt to connect failed, or the last list of
    /// tools could not be used. It stays when there is a connection again.
    pub last_error: Option<RemoteError>,
    /// The number of tools.
    pub tools: usize,
    /// The number of calls that wait for a response of the server.
    pub in_flight: usize,
    /// The version of the protocol, such as `2026-07-28`, while there is a connection.
    pub protocol: Option<String>,
}
