/// Bounds on the partial results of a call, and which items stay when not all of them fit.
///
/// Set by the layer that keeps partial results. The bounds hold for each attempt of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepPolicy {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) drop_oldest: bool,
}

// === impl KeepPolicy ===

impl KeepPolicy {
    /// Keeps at most 1,024 items and 1 MiB, and nothing after the first item that does not fit.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_items: 1_024,
            max_bytes: 1 << 20,
            drop_oldest: false,
        }
    }

    /// Sets the maximum number of items.
    #[must_use]
    pub const fn with_max_items(mut self, items: usize) -> Self {
        self.max_items = items;
        self
    }

    /// Sets the maximum number of bytes, as [`Content::size`](super::Content::size) counts them.
    ///
    /// The snapshot is not part of this sum. It may have as many bytes of its own.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Keeps the newest items instead of the first ones.
    #[must_use]
    pub const fn with_drop_oldest(mut self) -> Self {
        self.drop_oldest = true;
        self
    }
}

impl Default for KeepPolicy {
    fn default() -> Self {
        Self::new()
    }
}
