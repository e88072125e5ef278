use super::Content;
use crate::call::Progress;

/// The partial result of a call that did not complete. Only an error carries one.
///
/// Its contents are the items that the tool emitted or streamed, in order. They are a prefix
/// without gaps, unless the layer that kept them drops the oldest
/// ([`with_drop_oldest`](crate::KeepPolicy::with_drop_oldest)). If the tool returned a complete
/// response within the grace of an expired timeout, they are the contents of that response.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Partial {
    pub(super) contents: Vec<Content>,
    pub(super) snapshot: Option<Content>,
    pub(super) progress: Option<Progress>,
    pub(super) dropped: u64,
    pub(super) delivered: u64,
}

// === impl Partial ===

impl Partial {
    /// Returns the items that were emitted and streamed, in order.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// Returns the items by value.
    #[must_use]
    pub fn into_contents(self) -> Vec<Content> {
        self.contents
    }

    /// Returns the last snapshot that the tool published.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Content> {
        self.snapshot.as_ref()
    }

    /// Returns the last progress that the call reported.
    #[must_use]
    pub const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
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
    pub(super) const fn collected(contents: Vec<Content>) -> Self {
        Self {
            contents,
            snapshot: None,
            progress: None,
            dropped: 0,
            delivered: 0,
        }
    }
}
