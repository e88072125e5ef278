//! The streamable HTTP transport. Most tests call the service itself, on a paused clock.

mod bounds;
pub(crate) mod client;
mod gone;
mod repeated;
mod responses;
mod sessions;
mod sockets;
