use serde::{Deserialize, Serialize};

use super::{Content, Contents};
use crate::call::Progress;

/// The partial result of a call that did not complete. Only an error carries one.
///
/// Its contents are the items that the tool emitted or streamed, in order. They are a prefix
/// without gaps, unless the layer that kept them drops the oldest
/// ([`with_drop_oldest`](crate::KeepPolicy::with_drop_oldest)). If the tool returned a complete
/// response within the grace of an expired timeout, they are the contents of that response.
///
/// # JSON
/// The fields `contents`, `snapshot`, `progress`, `dropped` and `delivered`. All but `contents` are
/// left out if they are empty or 0, and unknown fields are ignored.
///
/// ```
/// use serde_json::json;
/// use toolbooth_core::Partial;
///
/// let expected = json!({
///     "contents": [{ "type": "text", "text": "page 1" }],
///     "progress": { "done": 1, "total": 10 },
///     "dropped": 2,
/// });
/// let partial: Partial = serde_json::from_value(expected.clone()).unwrap();
/// assert_eq!((partial.contents(), partial.dropped()), (&["page 1".into()][..], 2));
/// assert_eq!(serde_json::to_value(&partial).unwrap(), expected);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Partial {
    pub(super) contents: Contents,
    /// Boxed, since few calls publish these two and each call pays for their size (`storm`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<Box<Content>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Box<Progress>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) dropped: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) delivered: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

// === impl Partial ===

impl Partial {
    /// Returns the items that were emitted and streamed, in order.
    ///
    /// Items that a reader of [updates](crate::ToolCall::updates) or an event sink still has are
    /// copied here, once.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        self.contents.as_slice()
    }

    /// Returns the items by value.
    #[must_use]
    pub fn into_contents(self) -> Vec<Content> {
        self.contents.into_vec()
    }

    /// Returns the items as text for a model, each on a line of its own as [`Content::to_text`]
    /// writes it. Without items it is the text of the [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn text(&self) -> String {
        match &self.snapshot {
            Some(snapshot) if self.contents.len() == 0 => snapshot.to_text().into_owned(),
            _ => Content::join(self.contents.iter(), true),
        }
    }

    /// Returns the last snapshot that the tool published.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Content> {
        self.snapshot.as_deref()
    }

    /// Returns the last progress that the call reported.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    /// Returns the number of items that did not fit within the bounds and were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of items of a streaming response that its consumer received before the
    /// error.
    ///
    /// These items are in [`contents`](Self::contents), together with those that were emitted. The
    /// frames of an HTTP body are counted as well, but not kept.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Makes the partial result of a stream that has none itself, from the items collected.
    pub(super) fn collected(contents: Vec<Content>) -> Self {
        Self {
            contents: contents.into(),
            ..Self::default()
        }
    }

    /// Returns whether anything was published, even if none of it is stored.
    pub(super) fn is_published(&self) -> bool {
        self.contents.len() > 0 || self.snapshot.is_some() || self.dropped + self.delivered > 0
    }
}
