//! What a line is by JSON-RPC, whatever its parameters are.

use rmcp::model::RequestId;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Deserialize)]
struct Envelope {
    id: RequestId,
    method: IgnoredAny,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Method {
    jsonrpc: String,
    method: String,
}

/// A request with an id.
pub(crate) struct Request {
    pub(crate) id: RequestId,
    /// Whether it is one by JSON-RPC.
    pub(crate) is_valid: bool,
    /// Whether its response comes when the client ends it.
    pub(crate) is_subscription: bool,
}

/// Parses a request. Its parameters may have any depth, numbers of any size, and any characters.
pub(crate) fn request(line: &[u8]) -> Option<Request> {
    let is_text = std::str::from_utf8(line).is_ok();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let envelope: Envelope = serde_json::from_slice(line).ok()?;
    let IgnoredAny = envelope.method;
    let method = serde_json::from_slice::<Method>(line).ok();
    let has_version = method
        .as_ref()
        .is_some_and(|method| method.jsonrpc == "2.0");
    let is_request = envelope.result.is_none() && envelope.error.is_none();
    Some(Request {
        id: envelope.id,
        is_valid: is_text && has_version && is_request,
        is_subscription: method.is_some_and(|method| method.method == "subscriptions/listen"),
    })
}

/// Returns the id of the request that a line cancels.
pub(crate) fn cancelled(line: &[u8]) -> Option<RequestId> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let message: Value = serde_json::from_slice(line).ok()?;
    if message["method"] != "notifications/cancelled" {
        return None;
    }
    serde_json::from_value(message["params"]["requestId"].clone()).ok()
}

/// Returns the id of a response: null for one to a message without a valid id.
pub(crate) fn response(message: &Value) -> Option<Value> {
    let is_response = message.get("result").is_some() || message.get("error").is_some();
    let is_response = is_response && message["jsonrpc"] == "2.0";
    is_response.then(|| message["id"].clone())
}
