//! The streamable HTTP transport. Most tests call the service itself, on a paused clock.

mod bounds;
mod client;
mod gone;
mod sessions;
