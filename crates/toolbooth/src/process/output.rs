//! The formats of the outputs of a program.

/// The format of the standard output of a program.
///
/// | | response | partial result |
/// |---|---|---|
/// | `Text` | one text | its lines |
/// | `Lines` | a stream of texts, one for each line | its lines |
/// | `Json` | one JSON value | its lines, as texts |
/// | `Bytes` | one item of data | its bytes, in items of up to 8 KiB |
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CommandOutput {
    /// One text. Invalid UTF-8 in it is replaced by U+FFFD.
    #[default]
    Text,
    /// A streaming response of lines. The program blocks while the consumer does not read.
    Lines,
    /// One JSON value.
    Json,
    /// Bytes with a media type, such as an image.
    #[non_exhaustive]
    Bytes {
        /// The media type of the bytes, such as `image/png`.
        media_type: String,
    },
}

/// What the response has of the standard error of a program.
///
/// | | buffered response | stream of lines |
/// |---|---|---|
/// | `Separate` | a text after the output | `{"stderr": text}` after the last line |
/// | `Tail` | the same, with the last [`STDERR_TAIL`] bytes | the same |
/// | `Merged` | within the output | within the lines |
///
/// The text has no surrounding whitespace. There is none for an empty standard error. The metadata
/// of a buffered response has its index as `stderr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CommandStderr {
    /// A content of its own, up to the [output cap](super::CommandTool::with_output_cap).
    #[default]
    Separate,
    /// A content of its own with the last [`STDERR_TAIL`] bytes.
    Tail,
    /// Part of the output, in the order in which the program writes: both are one pipe.
    Merged,
}

/// The maximum length of a line in bytes. A longer line is split into several items.
pub const MAX_LINE: usize = 64 * 1_024;

/// The number of bytes of the end of the standard error in a partial result, in
/// [`CommandError::Exited`](super::CommandError::Exited), and with [`CommandStderr::Tail`].
pub const STDERR_TAIL: usize = 8 * 1_024;

// === impl CommandOutput ===

impl CommandOutput {
    /// Makes the format of bytes with a media type.
    #[must_use]
    pub fn bytes(media_type: impl Into<String>) -> Self {
        Self::Bytes {
            media_type: media_type.into(),
        }
    }
}
