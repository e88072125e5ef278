use std::fmt;

/// The maximum size of a checkpoint in bytes, as [`Content::size`](crate::Content::size) counts
/// them: 1 MiB.
pub const MAX_CHECKPOINT: usize = 1 << 20;

/// The result of [`CallContext::checkpoint`](crate::CallContext::checkpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checkpointed {
    /// The checkpoint is stored, and replaces the one before.
    Kept,
    /// The checkpoint has more than [`MAX_CHECKPOINT`] bytes. The one before stays.
    TooLarge,
    /// The attempt is over. The checkpoint before stays.
    Over,
}

// === impl Checkpointed ===

impl Checkpointed {
    /// Returns the stable name: `kept`, `too_large` or `over`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::TooLarge => "too_large",
            Self::Over => "over",
        }
    }
}

impl fmt::Display for Checkpointed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
