//! Makes texts of calls safe to show.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// Replaces characters that a terminal or a browser does not show by `\u{..}`: control characters,
/// line ends, marks that change the direction of text, and others without a shape.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

/// As [`printable`], of a name, which is `(unnamed)` if it is empty.
pub(crate) fn printable_name(name: &str) -> Cow<'_, str> {
    match name {
        "" => Cow::Borrowed("(unnamed)"),
        name => printable(name),
    }
}

/// As [`printable`], of a text with line ends and tabs.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |char| !matches!(char, '\n' | '\t') && is_hidden(char))
}

fn escape(text: &str, is_hidden: fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match is_hidden(char) {
            true => _ = write!(printable, "\\u{{{:x}}}", u32::from(char)),
            false => printable.push(char),
        }
    }
    Cow::Owned(printable)
}

/// The controls, and the characters of the category "format".
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0xad | 0x61c | 0x6dd | 0x70f | 0x8e2 | 0x180e | 0xfeff
            | 0x600..=0x605 | 0x890..=0x891 | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xfff9..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// Returns the start of a printable text that fits `width` columns, with `…` at its end if it is
/// not whole, and how many columns it takes.
pub(crate) fn fit(text: &str, width: usize) -> (Cow<'_, str>, usize) {
    let columns = |char: char| char.width().unwrap_or(0);
    let whole = text.chars().map(columns).sum();
    if whole <= width {
        return (Cow::Borrowed(text), whole);
    }
    let Some(room) = width.checked_sub(1) else {
        return (Cow::Borrowed(""), 0);
    };
    let (mut start, mut taken) = (String::new(), 0);
    for char in text.chars() {
        if taken + columns(char) > room {
            break;
        }
        start.push(char);
        taken += columns(char);
    }
    start.push('…');
    (Cow::Owned(start), taken + 1)
}

#[cfg(test)]
mod tests {
    use super::{fit, printable};

    #[test]
    fn what_is_not_visible_is_escaped() {
        assert_eq!(printable("größe 搜索 🔍"), "größe 搜索 🔍");
        assert_eq!(printable("a\nb\u{1b}[31m"), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(
            printable("\u{202e}txt.exe\u{2069}"),
            "\\u{202e}txt.exe\\u{2069}"
        );
        assert_eq!(
            printable("\u{9b}\u{feff}\u{2028}"),
            "\\u{9b}\\u{feff}\\u{2028}"
        );
    }

    #[test]
    fn text_fits_columns_of_wide_characters() {
        assert_eq!(fit("search", 6), ("search".into(), 6));
        assert_eq!(fit("search", 5), ("sear…".into(), 5));
        assert_eq!(fit("搜索引擎", 8), ("搜索引擎".into(), 8));
        assert_eq!(fit("搜索引擎", 7), ("搜索引…".into(), 7));
        assert_eq!(fit("搜索引擎", 6), ("搜索…".into(), 5));
        assert_eq!(fit("search", 1), ("…".into(), 1));
        assert_eq!(fit("search", 0), ("".into(), 0));
    }
}
