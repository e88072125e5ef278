//! The keys of this crate in `_meta`.

/// The key of a request's `_meta` with the time that its caller waits for the result, in whole
/// milliseconds.
///
/// A [`RemoteTool`](crate::RemoteTool) sends it. An [`McpServer`](crate::McpServer) reads it as the
/// deadline of the call.
pub const TIMEOUT_META_KEY: &str = "dev.toolbooth/timeout_ms";

/// The key of a result's `_meta` with the error that ended the call: an object.
///
/// It has the fields of an [`ErrorReport`](toolbooth::ErrorReport)
/// [for a client](toolbooth::ErrorReport::for_client), with counts in place of the partial result:
/// `items`, `dropped` and `delivered`. The items are in the result's content.
pub const ERROR_META_KEY: &str = "dev.toolbooth/error";

/// The key of a progress notification's `_meta` with the items that the call has published since
/// the notification before: an array of [`Content`](toolbooth::Content)s as JSON.
pub const ITEMS_META_KEY: &str = "dev.toolbooth/items";
