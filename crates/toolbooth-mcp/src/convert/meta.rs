//! The keys of this crate in `_meta`.

/// The key of a request's `_meta` with the time that its caller waits for the result, in whole
/// milliseconds.
///
/// A [`RemoteTool`](crate::RemoteTool) sends it.
pub const TIMEOUT_META_KEY: &str = "dev.toolbooth/timeout_ms";
