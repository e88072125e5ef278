use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::json::{TooDeep, nests_too_deep};

/// One item of a response.
///
/// ```
/// use toolbooth_core::Content;
///
/// assert_eq!(Content::from("three lines"), Content::Text("three lines".to_owned()));
/// assert_eq!(Content::from("three lines").as_text(), Some("three lines"));
/// ```
///
/// # JSON
/// An object whose `type` is `text`, `json` or `data`. Bytes are in base64, the standard alphabet
/// with padding. A JSON value that nests deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH) does
/// not serialize.
///
/// ```
/// use serde_json::json;
/// use toolbooth_core::Content;
///
/// for (content, expected) in [
///     (Content::from("hi"), json!({ "type": "text", "text": "hi" })),
///     (Content::from(json!([1])), json!({ "type": "json", "value": [1] })),
///     (
///         Content::data("image/png", &b"\x89PNG"[..]),
///         json!({ "type": "data", "media_type": "image/png", "data": "iVBORw==" }),
///     ),
/// ] {
///     assert_eq!(serde_json::to_value(&content).unwrap(), expected);
///     assert_eq!(serde_json::from_value::<Content>(expected).unwrap(), content);
/// }
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
    /// A fixed text stands for a JSON value that nests deeper than
    /// [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH).
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
            Self::Json(value) if nests_too_deep(value) => Cow::Owned(format!("[{TooDeep}]")),
            Self::Json(value) => Cow::Owned(value.to_string()),
            Self::Data { media_type, bytes } => {
                Cow::Owned(format!("[{media_type}, {} bytes]", bytes.len()))
            }
        }
    }

    /// Concatenates contents as text, as [`Collected::text`](crate::Collected::text) describes.
    pub(super) fn join<'a>(
        contents: impl IntoIterator<Item = &'a Self>,
        line_ends: bool,
    ) -> String {
        let mut joined = String::new();
        let (mut after_text, mut is_open) = (true, false);
        for content in contents {
            let is_text = content.as_text().is_some();
            let begins_line = match line_ends {
                true => is_open,
                false => !(joined.is_empty() || joined.ends_with('\n') || is_text && after_text),
            };
            if begins_line {
                joined.push('\n');
            }
            let text = content.to_text();
            is_open = !text.ends_with('\n');
            joined.push_str(&text);
            after_text = is_text;
        }
        joined
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
