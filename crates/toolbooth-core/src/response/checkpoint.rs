/// How many bytes a checkpoint may have, as [`Content::size`](crate::Content::size) counts them: 1 MiB.
pub const MAX_CHECKPOINT: usize = 1 << 20;

/// What became of a [checkpoint](crate::CallContext::checkpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checkpointed {
    /// It is the call's last one now.
    Kept,
    /// It has more than [`MAX_CHECKPOINT`] bytes. The one before stays.
    TooLarge,
    /// The attempt is over. The one before stays.
    Over,
}
