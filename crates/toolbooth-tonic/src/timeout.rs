//! The header `grpc-timeout` of the [protocol]: at most eight digits and a unit.
//!
//! [protocol]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The name of the header.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The largest number of eight digits.
const MAX_COUNT: u128 = 99_999_999;

/// The units with their nanoseconds, the finest first.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60 * 1_000_000_000),
    ('H', 3_600 * 1_000_000_000),
];

/// Parses a `grpc-timeout`: at most eight digits and a unit. An invalid value is `None`.
///
/// ```
/// use std::time::Duration;
/// use toolbooth_tonic::parse_timeout;
///
/// assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_timeout("2 minutes"), None);
/// ```
#[must_use]
pub fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Formats a `grpc-timeout` in the finest unit with at most eight digits, rounded down. A longer
/// time than eight digits of hours is these.
///
/// ```
/// use std::time::Duration;
/// use toolbooth_tonic::format_timeout;
///
/// assert_eq!(format_timeout(Duration::from_millis(1_500)), "1500000u");
/// ```
#[must_use]
pub fn format_timeout(timeout: Duration) -> String {
    let nanos = timeout.as_nanos();
    let fits = UNITS.iter().find(|(_, unit)| nanos / unit <= MAX_COUNT);
    match fits {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{MAX_COUNT}H"),
    }
}

/// Reads the header of a request.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    parse_timeout(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// Sets the header of a request to this time, unless it has a shorter one.
pub(crate) fn limit_timeout(headers: &mut HeaderMap, timeout: Duration) {
    if timeout_of(headers).is_some_and(|earlier| earlier <= timeout) {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(format_timeout(timeout)) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_digits_and_a_unit() {
        for (value, time) in [
            ("0n", Duration::ZERO),
            ("1500000u", Duration::from_millis(1_500)),
            ("250m", Duration::from_millis(250)),
            ("30S", Duration::from_secs(30)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
        ] {
            assert_eq!(parse_timeout(value), Some(time), "{value}");
        }
    }

    #[test]
    fn invalid_timeout_is_none() {
        for value in [
            "",
            "S",
            "5",
            "5s",
            "-5S",
            "+5S",
            "123456789S",
            "5 S",
            "1é",
            "é",
        ] {
            assert_eq!(parse_timeout(value), None, "{value}");
        }
    }

    #[test]
    fn finest_unit_of_eight_digits_is_written() {
        for (time, value) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(6_000_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(format_timeout(time), value, "{time:?}");
            // Never a longer time than there is.
            assert!(parse_timeout(value).is_some_and(|parsed| parsed <= time));
        }
    }

    #[test]
    fn shorter_timeout_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("250m"));
        limit_timeout(&mut headers, Duration::from_secs(1));
        assert_eq!(headers[GRPC_TIMEOUT], "250m");
        limit_timeout(&mut headers, Duration::from_millis(50));
        assert_eq!(headers[GRPC_TIMEOUT], "50000000n");
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("soon"));
        limit_timeout(&mut headers, Duration::from_secs(1));
        assert_eq!(headers[GRPC_TIMEOUT], "1000000u");
    }
}
