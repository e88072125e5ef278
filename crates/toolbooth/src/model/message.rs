use serde_json::Value;

/// A message of a model that has not the shape of its API.
///
/// The calls of a message that has the shape never cause it: their errors are in their results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct MessageError {
    expected: &'static str,
}

// === impl MessageError ===

impl MessageError {
    pub(super) const fn new(expected: &'static str) -> Self {
        Self { expected }
    }
}

/// Returns whether the field `type` of an item is this one.
pub(super) fn is_type(item: &Value, name: &str) -> bool {
    item.get("type").and_then(Value::as_str) == Some(name)
}
