use std::time::Duration;

use tokio::time::Instant;
use tonic::codegen::http::Request;
use toolbooth::CallDeadline;

/// The time by which the deadline is before that of tonic.
///
/// tonic's server enforces `grpc-timeout` as well, up to the head of a streaming response, and
/// returns `CANCELLED`. With an earlier deadline, the layers return `DEADLINE_EXCEEDED` first.
const BEFORE_TONIC: Duration = Duration::from_millis(5);

/// Converts the header `grpc-timeout` into the deadline of the call, which all layers obey.
pub(super) fn with_deadline<B>(mut request: Request<B>) -> Request<B> {
    let header = request.headers().get("grpc-timeout");
    let timeout = header.and_then(|value| grpc_timeout(value.to_str().ok()?));
    if let Some(timeout) = timeout {
        let timeout = timeout.saturating_sub(BEFORE_TONIC);
        if let Some(deadline) = Instant::now().checked_add(timeout) {
            let deadline = CallDeadline::new(deadline);
            request.extensions_mut().insert(deadline);
        }
    }
    request
}

/// Parses a `grpc-timeout`: at most eight digits and a unit. An invalid value is `None`.
#[must_use]
pub fn grpc_timeout(value: &str) -> Option<Duration> {
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
            assert_eq!(grpc_timeout(value), Some(time), "{value}");
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
            assert_eq!(grpc_timeout(value), None, "{value}");
        }
    }
}
