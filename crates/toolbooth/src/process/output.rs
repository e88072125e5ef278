//! The output of a program: caps, lines and texts. Pure.

use toolbooth_core::Content;

/// The format of the standard output of a program.
///
/// | | response | partial result |
/// |---|---|---|
/// | `Text` | one text | its complete lines |
/// | `Lines` | a stream of texts, one for each line | the lines that were delivered |
/// | `Json` | one JSON value | its complete lines, as texts |
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

/// The maximum length of a line in bytes. A longer line is split into several items.
pub const MAX_LINE: usize = 64 * 1_024;

/// The number of bytes kept from the end of the standard error.
pub const STDERR_TAIL: usize = 8 * 1_024;

/// Passes bytes up to a cap, and counts those beyond it.
#[derive(Debug)]
pub(super) struct Capped {
    remaining: usize,
    dropped: u64,
}

/// The last [`STDERR_TAIL`] bytes of those pushed.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

/// Bytes that are converted into a text only if the content is kept.
pub(super) struct Lossy<'a>(pub(super) &'a [u8]);

/// Bytes with a media type that are copied only if the content is kept.
pub(super) struct Raw<'a>(pub(super) &'a str, pub(super) &'a [u8]);

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

// === impl Capped ===

impl Capped {
    pub(super) const fn new(cap: usize) -> Self {
        Self {
            remaining: cap,
            dropped: 0,
        }
    }

    /// Returns the part of `bytes` that is within the cap.
    pub(super) fn admit<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (admitted, beyond) = bytes.split_at(bytes.len().min(self.remaining));
        self.remaining -= admitted.len();
        self.dropped += beyond.len() as u64;
        admitted
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

// === impl Tail ===

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Truncates at twice the size, so that each byte is moved at most once.
        if self.0.len() >= 2 * STDERR_TAIL {
            self.truncate();
        }
    }

    /// Takes the bytes as a text without surrounding whitespace.
    pub(super) fn take(&mut self) -> String {
        self.truncate();
        let bytes = std::mem::take(&mut self.0);
        let inside = bytes
            .iter()
            .take_while(|&&byte| is_continuation(byte))
            .count();
        String::from_utf8_lossy(&bytes[inside..]).trim().to_owned()
    }

    fn truncate(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(STDERR_TAIL));
    }
}

// === lines ===

/// Returns the first line of `bytes` without its line ending, and its length with it. `None` if the
/// line is not complete yet.
pub(super) fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let searched = &bytes[..bytes.len().min(MAX_LINE)];
    if let Some(end) = searched.iter().position(|&byte| byte == b'\n') {
        let line = &bytes[..end];
        return Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1));
    }
    // The next byte shows whether the line would be split within a character.
    let next = *bytes.get(MAX_LINE)?;
    let mut end = MAX_LINE;
    if is_continuation(next) {
        let inside = bytes[..end].iter().rev().take(3);
        let inside = inside.take_while(|&&byte| is_continuation(byte)).count();
        end -= inside + 1;
    }
    Some((&bytes[..end], end))
}

/// Returns a truncated text without an incomplete character at its end.
pub(super) fn without_partial_character(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Returns whether the byte is a continuation byte of UTF-8.
const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

impl From<Lossy<'_>> for Content {
    fn from(text: Lossy<'_>) -> Self {
        Self::Text(String::from_utf8_lossy(text.0).into_owned())
    }
}

impl From<Raw<'_>> for Content {
    fn from(Raw(media_type, bytes): Raw<'_>) -> Self {
        Self::data(media_type, bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, usize) {
        let (mut lines, mut at) = (Vec::new(), 0);
        while let Some((line, taken)) = first_line(&bytes[at..]) {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            at += taken;
        }
        (lines, bytes.len() - at)
    }

    #[test]
    fn lines_have_no_line_ending_and_an_incomplete_one_is_pending() {
        let (complete, pending) = lines(b"a\n\nb\r\nc");
        assert_eq!(
            (complete, pending),
            (vec!["a".into(), String::new(), "b".into()], 1)
        );
    }

    #[test]
    fn long_line_is_split_between_characters() {
        let split = |text: &str| lines(format!("{text}\n").as_bytes()).0;
        let fits = "x".repeat(MAX_LINE - 1);
        assert_eq!(split(&fits), [fits.as_str()]);
        let long = "x".repeat(2 * MAX_LINE + 5);
        let sizes: Vec<_> = split(&long).iter().map(String::len).collect();
        assert_eq!(sizes, [MAX_LINE, MAX_LINE, 5]);
        for wide in ["ä", "€", "🛠"] {
            for shift in 0..4 {
                let text = format!("{}{}", "x".repeat(shift), wide.repeat(MAX_LINE / 2));
                assert_eq!(split(&text).concat(), text);
            }
        }
    }

    #[test]
    fn cap_keeps_the_first_bytes_and_counts_the_others() {
        let mut capped = Capped::new(5);
        assert_eq!(capped.admit(b"abc"), b"abc");
        assert_eq!(capped.admit(b"defg"), b"de");
        assert_eq!(capped.admit(b"h"), b"");
        assert_eq!(capped.dropped(), 3);
        assert_eq!(without_partial_character("aä".as_bytes()), "aä".as_bytes());
        assert_eq!(without_partial_character(&"aä".as_bytes()[..2]), b"a");
        assert_eq!(without_partial_character(b"a\xffb"), b"a\xffb");
    }

    #[test]
    fn tail_keeps_the_last_bytes() {
        let mut tail = Tail::default();
        for n in 0..100_000 {
            tail.push(format!("line {n}\n").as_bytes());
            assert!(tail.0.len() < 2 * STDERR_TAIL);
        }
        let text = tail.take();
        assert!(text.ends_with("line 99998\nline 99999"), "{text}");
        assert!((STDERR_TAIL - 2..=STDERR_TAIL).contains(&text.len()));
        tail.push("ä".repeat(STDERR_TAIL).as_bytes());
        tail.push(b"x");
        assert_eq!(tail.take(), format!("{}x", "ä".repeat(STDERR_TAIL / 2 - 1)));
    }
}
