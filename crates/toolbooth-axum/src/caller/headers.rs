//! The values of headers that a client sends.

use std::time::Duration;

use axum::http::{HeaderName, StatusCode};
use toolbooth::{MAX_NAME, Name, RequestHead};

use crate::Problem;

/// The maximum number of digits of a timeout: about 115 days.
const MAX_DIGITS: usize = 10;

/// Returns the value of a header, or `None` without one.
///
/// A header that is there twice is a problem: a proxy may have checked the other one.
fn value<'a>(head: &RequestHead<'a>, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = head.headers().get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value.trim())),
        _ => Err(not_allowed(name)),
    }
}

/// Reads a name: 1 to 256 visible ASCII characters.
pub(super) fn name(head: &RequestHead<'_>, name: &HeaderName) -> Result<Option<Name>, Problem> {
    let Some(value) = value(head, name)? else {
        return Ok(None);
    };
    let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    match is_visible && (1..=MAX_NAME).contains(&value.len()) {
        true => Ok(Some(value.into())),
        false => Err(not_allowed(name)),
    }
}

/// Reads a whole number, with or without a sign.
pub(super) fn number(head: &RequestHead<'_>, name: &HeaderName) -> Result<Option<i32>, Problem> {
    let Some(value) = value(head, name)? else {
        return Ok(None);
    };
    match value.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(not_allowed(name)),
    }
}

/// Reads a number of milliseconds of 1 to 10 digits.
pub(super) fn millis(
    head: &RequestHead<'_>,
    name: &HeaderName,
) -> Result<Option<Duration>, Problem> {
    let Some(value) = value(head, name)? else {
        return Ok(None);
    };
    let digits = value.len() <= MAX_DIGITS && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(millis) if digits => Ok(Some(Duration::from_millis(millis))),
        _ => Err(not_allowed(name)),
    }
}

/// The value is not in the text: it may be a secret.
fn not_allowed(name: &HeaderName) -> Problem {
    let detail = format!("the header `{name}` has a value that is not allowed");
    Problem::new(StatusCode::BAD_REQUEST, "invalid_header", detail)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Request};
    use toolbooth::ToolRequest;

    use super::*;

    const X: HeaderName = HeaderName::from_static("x");

    /// Reads a header of these values.
    fn read<T>(
        values: &[&[u8]],
        read: impl Fn(&RequestHead<'_>, &HeaderName) -> Result<Option<T>, Problem>,
    ) -> Result<Option<T>, &'static str> {
        let mut request = Request::new(());
        let headers: &mut HeaderMap = request.headers_mut();
        for value in values {
            headers.append(X, HeaderValue::from_bytes(value).expect("a value"));
        }
        let head = request.http_head().expect("of HTTP");
        read(&head, &X).map_err(|problem| problem.kind())
    }

    #[test]
    fn names_are_visible_ascii() {
        assert_eq!(read(&[], name), Ok(None));
        assert_eq!(read(&[b"acme"], name), Ok(Some("acme".into())));
        assert_eq!(read(&[b" acme "], name), Ok(Some("acme".into())));
        let longest = [b'x'; 256];
        assert!(read(&[&longest], name).is_ok());
        for value in [&b""[..], b" ", b"a b", b"a\tb", b"\xff", &[b'x'; 257]] {
            assert_eq!(read(&[value], name), Err("invalid_header"), "{value:?}");
        }
        assert_eq!(read(&[b"acme", b"acme"], name), Err("invalid_header"));
    }

    #[test]
    fn numbers_and_times_are_digits() {
        assert_eq!(read(&[b"-7"], number), Ok(Some(-7)));
        assert_eq!(read(&[b"+7"], number), Ok(Some(7)));
        for value in [&b""[..], b"1.5", b"high", b"99999999999", b"1 2", b"0x1"] {
            assert_eq!(read(&[value], number), Err("invalid_header"), "{value:?}");
        }
        assert_eq!(read(&[b"0"], millis), Ok(Some(Duration::ZERO)));
        let longest = Duration::from_millis(9_999_999_999);
        assert_eq!(read(&[b"9999999999"], millis), Ok(Some(longest)));
        for value in [
            &b""[..],
            b"-1",
            b"+1",
            b"1s",
            b"1.5",
            b"10000000000",
            b"1e3",
        ] {
            assert_eq!(read(&[value], millis), Err("invalid_header"), "{value:?}");
        }
    }
}
