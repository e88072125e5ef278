use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

/// One item of a response.
///
/// ```
/// use toolbooth_core::Content;
///
/// assert_eq!(Content::from("three lines"), Content::Text("three lines".to_owned()));
/// assert_eq!(Content::from("three lines").as_text(), Some("three lines"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text for a model or a person.
    Text(String),
    /// A JSON value.
    Json(Value),
    /// Bytes with a media type, such as an image.
    Data {
        /// The media type of the bytes, such as `image/png`.
        media_type: String,
        /// The bytes. Clones share them.
        bytes: Bytes,
    },
}

// === impl Content ===

impl Content {
    /// Makes a content of bytes with a media type.
    #[must_use]
    pub fn data(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self::Data {
            media_type: media_type.into(),
            bytes: bytes.into(),
        }
    }

    /// Returns the text if the content is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) | Self::Data { .. } => None,
        }
    }

    /// Returns the content as text for a model: the text itself, the JSON of a value, or the media
    /// type and the length of bytes.
    ///
    /// ```
    /// use toolbooth_core::Content;
    ///
    /// assert_eq!(Content::from("42").to_text(), "42");
    /// assert_eq!(Content::Json(serde_json::json!({ "n": [42] })).to_text(), r#"{"n":[42]}"#);
    /// assert_eq!(Content::data("image/png", vec![0; 5]).to_text(), "[image/png, 5 bytes]");
    /// ```
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(value) => Cow::Owned(value.to_string()),
            Self::Data { media_type, bytes } => {
                Cow::Owned(format!("[{media_type}, {} bytes]", bytes.len()))
            }
        }
    }

    /// Returns the approximate size in bytes, which bounds on responses count.
    ///
    /// It is the length of the text, or of the bytes and their media type. For JSON it is the
    /// length of its strings and keys, and 8 bytes for each value in it.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(value) => json_size(value),
            Self::Data { media_type, bytes } => media_type.len() + bytes.len(),
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

/// Counts without recursion, so that a deeply nested value cannot overflow the stack.
fn json_size(value: &Value) -> usize {
    let mut size = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        size += 8;
        match value {
            Value::String(text) => size += text.len(),
            Value::Array(values) => open.extend(values),
            Value::Object(fields) => {
                size += fields.keys().map(String::len).sum::<usize>();
                open.extend(fields.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_counts_strings_keys_and_values() {
        assert_eq!(Content::from("abc").size(), 3);
        assert_eq!(Content::data("a/b", vec![0; 10]).size(), 13);
        let value = serde_json::json!({ "ab": [1, "xyz"] });
        assert_eq!(Content::from(value).size(), 4 * 8 + 2 + 3);
    }
}
