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
