/// Returns the longest start of a text that has at most `max` bytes and ends between characters.
///
/// ```
/// use toolbooth_core::start_of;
///
/// assert_eq!(start_of("größe", 3), "gr");
/// assert_eq!(start_of("größe", 4), "grö");
/// assert_eq!(start_of("größe", 100), "größe");
/// ```
#[must_use]
pub fn start_of(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_between_characters() {
        assert_eq!(start_of("äöü", 6), "äöü");
        assert_eq!(start_of("äöü", 5), "äö");
        assert_eq!(start_of("äöü", 1), "");
    }
}
