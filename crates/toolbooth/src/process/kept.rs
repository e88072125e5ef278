//! The first and the last bytes of an output. Pure.

use std::collections::VecDeque;

use super::lines::is_continuation;

/// The first and the last bytes of those pushed, and how many were pushed.
#[derive(Debug)]
pub(super) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    max_head: usize,
    max_tail: usize,
    total: u64,
}

// === impl Kept ===

impl Kept {
    /// Keeps `max` bytes: half of them from the start, and half from the end.
    pub(super) const fn ends(max: usize) -> Self {
        Self::new(max - max / 2, max / 2)
    }

    /// Keeps the first `max` bytes.
    pub(super) const fn first(max: usize) -> Self {
        Self::new(max, 0)
    }

    /// Keeps the last `max` bytes.
    pub(super) const fn last(max: usize) -> Self {
        Self::new(0, max)
    }

    const fn new(max_head: usize, max_tail: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            max_head,
            max_tail,
            total: 0,
        }
    }

    /// Adds bytes; returns those that are among the first.
    pub(super) fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.total += bytes.len() as u64;
        let (first, last) = bytes.split_at(bytes.len().min(self.max_head - self.head.len()));
        self.head.extend_from_slice(first);
        let last = &last[last.len().saturating_sub(self.max_tail)..];
        let beyond = (self.tail.len() + last.len()).saturating_sub(self.max_tail);
        self.tail.drain(..beyond);
        self.tail.extend(last);
        first
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns the number of bytes that are missing between the first and the last.
    pub(super) fn missing(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// Returns the last bytes, which follow the first and the missing ones.
    pub(super) fn tail(&mut self) -> &[u8] {
        self.tail.make_contiguous()
    }

    /// Returns the kept bytes.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let tail: &[u8] = self.tail.make_contiguous();
        [&self.head, tail].concat()
    }

    /// Returns the text, with a line that states how many bytes are missing.
    pub(super) fn text(&mut self) -> String {
        let missing = self.missing();
        if missing == 0 {
            return String::from_utf8_lossy(&self.bytes()).into_owned();
        }
        let head = without_partial_character(&self.head);
        let mut text = String::from_utf8_lossy(head).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&missing_line(missing));
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(after_partial_character(
            self.tail(),
        )));
        text
    }

    /// Returns the last `max` bytes as a text without surrounding whitespace.
    pub(super) fn last_text(&mut self, max: usize) -> String {
        let bytes = match self.missing() {
            0 => self.bytes(),
            _ => self.tail().to_vec(),
        };
        let last = &bytes[bytes.len().saturating_sub(max)..];
        let last = match last.len() as u64 == self.total {
            true => last,
            false => after_partial_character(last),
        };
        String::from_utf8_lossy(last).trim().to_owned()
    }
}

/// Returns the line that stands for missing output.
pub(super) fn missing_line(missing: u64) -> String {
    format!("[{missing} bytes of output are missing here]")
}

/// Returns a truncated text without an incomplete character at its end.
fn without_partial_character(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Returns a truncated text without an incomplete character at its start.
pub(super) fn after_partial_character(bytes: &[u8]) -> &[u8] {
    let inside = bytes.iter().take(3);
    let inside = inside.take_while(|&&byte| is_continuation(byte)).count();
    &bytes[inside..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mut kept: Kept, pushed: &[&[u8]]) -> String {
        for bytes in pushed {
            kept.push(bytes);
        }
        kept.text()
    }

    #[test]
    fn first_and_last_bytes_are_kept_and_a_line_states_how_many_are_missing() {
        let missing =
            |n, head: &str, tail| format!("{head}[{n} bytes of output are missing here]\n{tail}");
        assert_eq!(text(Kept::ends(6), &[]), "");
        assert_eq!(text(Kept::ends(6), &[b"abcd", b"ef"]), "abcdef");
        for pushed in [[b"abcd".as_slice(), b"efgxyz"], [b"abcdefgxy", b"z"]] {
            assert_eq!(text(Kept::ends(6), &pushed), missing(4, "abc\n", "xyz"));
        }
        let lines = text(Kept::ends(4), &[b"a\n..b\n"]);
        assert_eq!(lines, missing(2, "a\n", "b\n"));
        assert_eq!(text(Kept::ends(0), &[b"abc"]), missing(3, "", ""));
        assert_eq!(text(Kept::last(2), &[b"abcde"]), missing(3, "", "de"));
        let split = text(Kept::ends(4), &["aä..äz".as_bytes()]);
        assert_eq!(split, missing(4, "a\n", "z"), "no half of a character");
        assert_eq!(text(Kept::ends(9), &[b"a\xffb"]), "a\u{fffd}b");
    }

    #[test]
    fn pushed_bytes_that_are_among_the_first_are_returned() {
        let mut kept = Kept::first(3);
        let first = [b"ab".as_slice(), b"cd", b"e"].map(|bytes| kept.push(bytes));
        assert_eq!(first, [b"ab".as_slice(), b"c", b""]);
        assert_eq!((kept.bytes(), kept.missing()), (b"abc".to_vec(), 2));
    }

    #[test]
    fn last_text_is_the_end_of_all_bytes_within_bounded_memory() {
        let mut kept = Kept::ends(20_000);
        assert_eq!(kept.last_text(3), "");
        kept.push(b" ab\n");
        assert_eq!(kept.last_text(3), "ab");
        assert_eq!(kept.last_text(9), "ab");
        for n in 0..100_000 {
            kept.push(format!("line {n}\n").as_bytes());
        }
        assert_eq!((kept.head.len(), kept.tail.len()), (10_000, 10_000));
        let text = kept.last_text(8_000);
        assert!(text.ends_with("line 99998\nline 99999"), "{text}");
        assert_eq!(text.len(), 7_999);
        kept.push("ä".repeat(10_000).as_bytes());
        kept.push(b"x");
        assert_eq!(kept.last_text(4), "äx");
    }
}
