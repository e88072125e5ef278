//! What a client accepts.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The maximum number of media ranges that are read.
const MAX_RANGES: usize = 32;

/// Returns whether the client accepts `text/event-stream`, and prefers no JSON to it.
///
/// Only a range that names the type counts, not `*/*`: a client that does not know of server-sent
/// events accepts anything, too. Between equals, as in `application/json, text/event-stream`, the
/// client receives events.
pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).take(MAX_RANGES);
    let (mut events, mut json) = (0, 0);
    for range in ranges {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let weight = parts.find_map(weight).unwrap_or(1_000);
        if name.eq_ignore_ascii_case("text/event-stream") {
            events = events.max(weight);
        } else if name.eq_ignore_ascii_case("application/json") {
            json = json.max(weight);
        }
    }
    events > 0 && events >= json
}

/// Returns the weight of a parameter `q=0.5` in thousandths ([RFC 9110, 12.4.2]). One that is not
/// allowed is 0.
///
/// [RFC 9110, 12.4.2]: https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    Some(match whole {
        "1" if digits && thousandths == 0 => 1_000,
        "0" if digits => thousandths,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn events_are_sent_to_clients_that_name_them() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("application/json, text/event-stream", true),
            ("text/event-stream;q=0.5, application/json;q=0.4", true),
            ("text/event-stream;q=0.4, application/json;q=0.5", false),
            ("text/event-stream;q=0.999, application/json", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=0.000", false),
            ("text/event-stream;q=1.5", false),
            ("text/event-stream;q=0.0001", false),
            ("text/event-stream;q=high", false),
            ("text/event-stream; Q = 0.001", true),
            ("application/json", false),
            ("*/*", false),
            ("text/*", false),
            ("", false),
            (",,;;=,", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_events(&headers), expected, "{accept}");
        }
        assert!(!accepts_events(&HeaderMap::new()));
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static("application/json"));
        headers.append(ACCEPT, HeaderValue::from_static("text/event-stream"));
        assert!(accepts_events(&headers));
    }
}
