//! The JSON of contents.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;

use super::Content;

/// The maximum depth of a JSON value that is written as text: 128, more than `serde_json` reads.
pub const MAX_JSON_DEPTH: usize = 128;

/// A content in JSON.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged<T, V> {
    Text { text: T },
    Json { value: V },
    Data { media_type: T, data: String },
}

/// The text in place of a value that nests deeper than [`MAX_JSON_DEPTH`].
pub(crate) struct TooDeep;

// === impl Content ===

/// Fails for a JSON value that nests deeper than [`MAX_JSON_DEPTH`].
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = match self {
            Self::Text(text) => Tagged::Text { text },
            Self::Json(value) if nests_too_deep(value) => return Err(S::Error::custom(TooDeep)),
            Self::Json(value) => Tagged::Json { value },
            Self::Data { media_type, bytes } => Tagged::Data {
                media_type,
                data: BASE64_STANDARD.encode(bytes),
            },
        };
        tagged.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Tagged::<String, Value>::deserialize(deserializer)? {
            Tagged::Text { text } => Self::Text(text),
            Tagged::Json { value } => Self::Json(value),
            Tagged::Data { media_type, data } => {
                let bytes = BASE64_STANDARD.decode(data).map_err(D::Error::custom)?;
                Self::data(media_type, bytes)
            }
        })
    }
}

// === impl TooDeep ===

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a JSON value that nests deeper than {MAX_JSON_DEPTH} levels"
        )
    }
}

/// Returns whether a value nests deeper than [`MAX_JSON_DEPTH`].
///
/// It does not recurse. `serde_json` writes and copies values by recursion, which overflows the
/// stack on a deep one. A value that `serde_json` reads from text is never too deep.
///
/// ```
/// use serde_json::{Value, json};
/// use toolbooth_core::nests_too_deep;
///
/// assert!(!nests_too_deep(&json!([[1], { "a": [2] }])));
/// let deep = (0..10_000).fold(Value::Null, |value, _| Value::Array(vec![value]));
/// assert!(nests_too_deep(&deep));
/// ```
#[must_use]
pub fn nests_too_deep(value: &Value) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_JSON_DEPTH {
            return true;
        }
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|value| (value, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}
