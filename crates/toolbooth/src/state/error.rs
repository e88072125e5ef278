/// The error of an operation on a [`SharedState`](super::SharedState). Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The key is too long.
    #[error("a key may have {max} bytes, and this one has {bytes}")]
    #[non_exhaustive]
    KeyTooLong {
        /// The length of the key in bytes.
        bytes: usize,
        /// The maximum length.
        max: usize,
    },
    /// The key is new, and the state has the maximum number of keys.
    #[error("the key is new, and all {max} keys are in use")]
    #[non_exhaustive]
    Full {
        /// The maximum number of keys.
        max: usize,
    },
    /// The value of the key has another type.
    #[error("the value of the key has another type")]
    WrongType,
    /// The value of the key is not the expected version.
    #[error("the value has been changed: its version is {version}")]
    #[non_exhaustive]
    Conflict {
        /// The current version, 0 if there is no value.
        version: u64,
    },
    /// The counter would exceed the range of its type.
    #[error("the counter would overflow")]
    Overflow,
}
