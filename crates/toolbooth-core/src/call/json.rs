//! The JSON of a call.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use tokio::time::Instant;

use super::{Name, ToolCall};
use crate::response::{TooDeep, nests_too_deep};

/// The maximum length in bytes of a name, an id or a tenant that is read from JSON.
pub const MAX_NAME: usize = 256;

/// The fields of a call in JSON. Times are in milliseconds.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fields<N, A> {
    name: N,
    #[serde(default)]
    args: A,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<N>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<N>,
    #[serde(default, skip_serializing_if = "is_zero")]
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<N>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_item_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_depth: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

/// Returns whole milliseconds, rounded down.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl ToolCall ===

/// Fails for arguments that nest deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH).
impl Serialize for ToolCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if nests_too_deep(self.args()) {
            return Err(S::Error::custom(TooDeep));
        }
        let context = self.context();
        let settings = context.settings();
        let rare = settings.rare();
        let id = context.id();
        let fields = Fields {
            name: self.name(),
            args: self.args(),
            id: Some(id.as_str()),
            tenant: context.tenant(),
            priority: context.priority(),
            idempotent: context.idempotent(),
            idempotency_key: context.idempotency_key(),
            remaining_ms: context.remaining().map(millis),
            timeout_ms: rare.and_then(|rare| rare.timeout).map(millis),
            idle_timeout_ms: rare.and_then(|rare| rare.idle_timeout).map(millis),
            first_item_timeout_ms: rare.and_then(|rare| rare.first_item_timeout).map(millis),
            max_depth: rare.and_then(|rare| rare.max_depth),
        };
        fields.serialize(serializer)
    }
}

/// Fails for a name, an id or a tenant of more than [`MAX_NAME`] bytes.
impl<'de> Deserialize<'de> for ToolCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::<Name, Value>::deserialize(deserializer)?;
        let mut call = Self::new(fields.name, fields.args).with_priority(fields.priority);
        if let Some(id) = fields.id {
            call = call.with_id(id);
        }
        if let Some(tenant) = fields.tenant {
            call = call.with_tenant(tenant);
        }
        if let Some(idempotent) = fields.idempotent {
            call = call.with_idempotent(idempotent);
        }
        if let Some(key) = fields.idempotency_key {
            call = call.with_idempotency_key(key);
        }
        // A deadline that the clock cannot represent is none.
        let remaining = fields.remaining_ms.map(Duration::from_millis);
        if let Some(at) = remaining.and_then(|left| Instant::now().checked_add(left)) {
            call = call.with_deadline(at);
        }
        if let Some(timeout) = fields.timeout_ms {
            call = call.with_timeout(Duration::from_millis(timeout));
        }
        if let Some(timeout) = fields.idle_timeout_ms {
            call = call.with_idle_timeout(Duration::from_millis(timeout));
        }
        if let Some(timeout) = fields.first_item_timeout_ms {
            call = call.with_first_item_timeout(Duration::from_millis(timeout));
        }
        if let Some(max_depth) = fields.max_depth {
            call = call.with_max_depth(max_depth);
        }
        Ok(call)
    }
}

// === impl Name ===

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// Fails for more than [`MAX_NAME`] bytes.
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MAX_NAME} bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
        if text.len() > MAX_NAME {
            return Err(E::invalid_length(text.len(), &self));
        }
        Ok(text.into())
    }
}
