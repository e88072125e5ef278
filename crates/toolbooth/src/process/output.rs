//! What becomes of a program's output: pure.

use toolbooth_core::Content;

/// What the standard output of a program is to be.
///
/// | | the answer | what is kept when the call is cut |
/// |---|---|---|
/// | `Text` | one text | its whole lines |
/// | `Lines` | a stream of texts, one for each line | the lines that were delivered |
/// | `Json` | one JSON value | its whole lines, as texts |
/// | `Bytes` | one piece of data | its bytes, in pieces of up to 8 KiB |
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CommandOutput {
    /// One text. What is not UTF-8 in it is replaced by U+FFFD.
    #[default]
    Text,
    /// Its lines, as they come: the answer is a stream. The program waits while nobody reads.
    Lines,
    /// One JSON value.
    Json,
    /// Bytes of a media type, such as an image.
    #[non_exhaustive]
    Bytes {
        /// What the bytes are: `image/png`.
        media_type: String,
    },
}

/// How long a line may be, in bytes: a longer one comes in several pieces.
pub const MAX_LINE: usize = 64 * 1_024;

/// How much of what a program says on its standard error is kept, in bytes: the last of it.
pub const STDERR_TAIL: usize = 8 * 1_024;

/// Lets so many bytes through, and counts the others.
#[derive(Debug)]
pub(super) struct Capped {
    room: usize,
    dropped: u64,
}

/// The last bytes of all that are pushed.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

/// A text that is made when it is needed.
pub(super) struct Lossy<'a>(pub(super) &'a [u8]);

/// Bytes of a media type that are copied when they are needed.
pub(super) struct Raw<'a>(pub(super) &'a str, pub(super) &'a [u8]);

// === impl CommandOutput ===

impl CommandOutput {
    /// Bytes of a media type.
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
            room: cap,
            dropped: 0,
        }
    }

    /// As much of the bytes as there is room for.
    pub(super) fn admit<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (admitted, over) = bytes.split_at(bytes.len().min(self.room));
        self.room -= admitted.len();
        self.dropped += over.len() as u64;
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
        // Not at every push: each byte is then moved once at most.
        if self.0.len() >= 2 * STDERR_TAIL {
            self.cut();
        }
    }

    /// As a text, without blanks around it.
    pub(super) fn take(&mut self) -> String {
        self.cut();
        let bytes = std::mem::take(&mut self.0);
        let inside = bytes.iter().take_while(|&&byte| is_inside(byte)).count();
        String::from_utf8_lossy(&bytes[inside..]).trim().to_owned()
    }

    fn cut(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(STDERR_TAIL));
    }
}

// === lines ===

/// The first line of `bytes` without its end, and how many bytes it takes with it. `None` if it is not whole yet.
pub(super) fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let searched = &bytes[..bytes.len().min(MAX_LINE)];
    if let Some(end) = searched.iter().position(|&byte| byte == b'\n') {
        let line = &bytes[..end];
        return Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1));
    }
    // One byte more is waited for, to see whether the cut is inside of a character.
    let next = *bytes.get(MAX_LINE)?;
    let mut cut = MAX_LINE;
    if is_inside(next) {
        let inside = bytes[..cut].iter().rev().take(3);
        let inside = inside.take_while(|&&byte| is_inside(byte)).count();
        cut -= inside + 1;
    }
    Some((&bytes[..cut], cut))
}

/// What fits of a text that was cut somewhere: up to the last whole character.
pub(super) fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Whether no character of UTF-8 begins with this byte.
const fn is_inside(byte: u8) -> bool {
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
    fn lines_come_without_their_ends_and_the_last_one_waits() {
        let (whole, left) = lines(b"a\n\nb\r\nc");
        assert_eq!(
            (whole, left),
            (vec!["a".into(), String::new(), "b".into()], 1)
        );
    }

    #[test]
    fn a_long_line_comes_in_pieces_between_characters() {
        let pieces = |text: &str| lines(format!("{text}\n").as_bytes()).0;
        let fits = "x".repeat(MAX_LINE - 1);
        assert_eq!(pieces(&fits), [fits.as_str()]);
        let long = "x".repeat(2 * MAX_LINE + 5);
        let sizes: Vec<_> = pieces(&long).iter().map(String::len).collect();
        assert_eq!(sizes, [MAX_LINE, MAX_LINE, 5]);
        for wide in ["ä", "€", "🛠"] {
            for shift in 0..4 {
                let text = format!("{}{}", "x".repeat(shift), wide.repeat(MAX_LINE / 2));
                assert_eq!(pieces(&text).concat(), text);
            }
        }
    }

    #[test]
    fn a_cap_keeps_the_first_and_counts_the_others() {
        let mut capped = Capped::new(5);
        assert_eq!(capped.admit(b"abc"), b"abc");
        assert_eq!(capped.admit(b"defg"), b"de");
        assert_eq!(capped.admit(b"h"), b"");
        assert_eq!(capped.dropped(), 3);
        assert_eq!(whole_characters("aä".as_bytes()), "aä".as_bytes());
        assert_eq!(whole_characters(&"aä".as_bytes()[..2]), b"a");
        assert_eq!(whole_characters(b"a\xffb"), b"a\xffb");
    }

    #[test]
    fn a_tail_is_the_last_of_it() {
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
