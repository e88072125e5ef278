use super::Content;
use crate::call::Progress;

/// What a call had produced before it was cut short: never a success, and only ever found in an error.
///
/// Its contents are what the tool emitted and what its answer streamed, in the order in which they
/// came, with nothing missing in between unless the layer that kept them was told to drop the oldest. Where the tool
/// answered whole in the grace that a timeout gave it, they are that answer's.
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
    /// What was emitted and streamed, in order.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The same, by value.
    #[must_use]
    pub fn into_contents(self) -> Vec<Content> {
        self.contents
    }

    /// The last snapshot that the tool published.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Content> {
        self.snapshot.as_ref()
    }

    /// How far the call said it was, last.
    #[must_use]
    pub const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// How many pieces did not fit the bounds and are not here.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many pieces of a streamed answer its consumer had already before the error: those of
    /// [`contents`](Self::contents) that were streamed and not emitted; of an HTTP body, its frames, which are counted and not kept.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What a consumer had collected of a stream that kept no partial result itself.
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
