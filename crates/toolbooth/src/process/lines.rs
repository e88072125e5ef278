//! Splits an output into lines. Pure.

use super::output::MAX_LINE;

/// Bytes of an output that are split into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The number of bytes of the lines that were taken.
    taken: usize,
}

// === impl Lines ===

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete line, without its line ending.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let (line, length) = first_line(&self.bytes[self.taken..])?;
        self.taken += length;
        Some(line)
    }

    /// Takes the unfinished line, after all complete ones. `None` if it is empty.
    pub(super) fn rest(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.taken..];
        self.taken = self.bytes.len();
        (!rest.is_empty()).then_some(rest)
    }
}

/// Returns the first line of `bytes` without its line ending, and its length with it. `None` if the
/// line is not complete yet.
fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
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

/// Returns whether the byte is a continuation byte of UTF-8.
pub(super) const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (Vec<String>, Option<String>) {
        let to_text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (mut lines, mut complete) = (Lines::default(), Vec::new());
        for chunk in text.as_bytes().chunks(8_192) {
            lines.push(chunk);
            while let Some(line) = lines.next() {
                complete.push(to_text(line));
            }
        }
        (complete, lines.rest().map(to_text))
    }

    #[test]
    fn lines_have_no_line_ending_and_the_unfinished_one_is_the_rest() {
        let complete = ["a", "", "b"].map(str::to_owned).to_vec();
        assert_eq!(split("a\n\nb\r\nc"), (complete.clone(), Some("c".into())));
        assert_eq!(split("a\n\nb\r\n"), (complete, None));
        assert_eq!(split(""), (vec![], None));
    }

    #[test]
    fn long_line_is_split_between_characters() {
        let split = |text: &str| split(&format!("{text}\n")).0;
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
}
