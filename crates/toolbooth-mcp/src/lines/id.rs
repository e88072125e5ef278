//! Finds the id of a message that cannot be parsed.
//!
//! It is read only where it is certain that it belongs to the message itself, and not to something
//! within its parameters or its result: right after the opening brace, or right before the closing
//! one. The official SDKs write it there.

use rmcp::model::RequestId;

/// The maximum length of an id that is found.
const MAX_ID: usize = 64;

/// Returns the id of the message that begins and ends so.
pub(crate) fn id_of(start: &[u8], end: &[u8]) -> Option<RequestId> {
    in_front(start).or_else(|| at_end(end))
}

/// Returns whether the message that begins so is a notification or a request.
pub(crate) fn has_method(start: &[u8]) -> bool {
    skip_version(start).is_some_and(|rest| rest.starts_with(b"\"method\""))
}

fn in_front(start: &[u8]) -> Option<RequestId> {
    let rest = skip_version(start)?.strip_prefix(b"\"id\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let length = rest
        .iter()
        .take(MAX_ID)
        .position(|byte| b",}".contains(byte))?;
    parse(&rest[..length])
}

/// Skips the opening brace and the version of JSON-RPC.
fn skip_version(start: &[u8]) -> Option<&[u8]> {
    let rest = start.trim_ascii_start().strip_prefix(b"{")?;
    let rest = rest.trim_ascii_start();
    let Some(version) = rest.strip_prefix(b"\"jsonrpc\"") else {
        return Some(rest);
    };
    let version = version.trim_ascii_start().strip_prefix(b":")?;
    let rest = version.trim_ascii_start().strip_prefix(b"\"2.0\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b",")?;
    Some(rest.trim_ascii_start())
}

fn at_end(end: &[u8]) -> Option<RequestId> {
    let end = end.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let end = match end.strip_suffix(b"\"2.0\"") {
        Some(version) => {
            let version = version.trim_ascii_end().strip_suffix(b":")?;
            let rest = version.trim_ascii_end().strip_suffix(b"\"jsonrpc\"")?;
            let rest = rest.trim_ascii_end().strip_suffix(b",")?;
            rest.trim_ascii_end()
        }
        None => end,
    };
    let window = &end[end.len().saturating_sub(MAX_ID)..];
    let colon = window.iter().rposition(|byte| *byte == b':')?;
    let before = window[..colon].trim_ascii_end().strip_suffix(b"\"id\"")?;
    // A quote within a text has a backslash before it.
    match before.trim_ascii_end().last() {
        Some(b',' | b'{') => parse(&window[colon + 1..]),
        _ => None,
    }
}

/// Parses an id: an integer, or a text without escapes.
fn parse(id: &[u8]) -> Option<RequestId> {
    let id = id.trim_ascii();
    let is_text = id.len() >= 2 && id.starts_with(b"\"") && id.ends_with(b"\"");
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let body = if is_text { &id[1..id.len() - 1] } else { id };
    if !body.iter().all(is_plain) {
        return None;
    }
    serde_json::from_slice(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(line: &str) -> Option<RequestId> {
        id_of(line.as_bytes(), line.as_bytes())
    }

    #[test]
    fn the_id_of_a_response_is_found_where_servers_write_it() {
        let seven = Some(RequestId::Number(7));
        for line in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"#,
            r#" { "jsonrpc" : "2.0" , "id" : 7 , "result": {"#,
            r#"{"id":7,"jsonrpc":"2.0","result":["#,
            r#"{"result":{"content":[]},"jsonrpc":"2.0","id":7}"#,
            r#"{"result":{"content":[]},"id":7,"jsonrpc":"2.0"}"#,
            r#"{"result":{"content":[]}, "id" : 7 } "#,
        ] {
            assert_eq!(id(line), seven, "{line}");
        }
        assert_eq!(
            id(r#"{"id":"a-1","result":1"#),
            Some(RequestId::String("a-1".into()))
        );
    }

    #[test]
    fn an_id_within_a_result_is_not_that_of_the_response() {
        for line in [
            r#"{"result":{"id":7}}"#,
            r#"{"jsonrpc":"2.0","result":{"id":7},"x":1}"#,
            r#"{"result":{"a":{"id":7}},"jsonrpc":"2.0"}"#,
            r#"{"result":"...,\"id\":7}"#,
            r#"{"result":["id",":7"]}"#,
            r#"{"result":{"text":"x\",\"id\":7"}}"#,
            r#"["id",7]"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":7}}"#,
            "",
            "{",
            "}",
            r#"{"id":}"#,
            r#"{"id":[7],"result":1}"#,
        ] {
            assert_eq!(id(line), None, "{line}");
        }
    }

    #[test]
    fn a_notification_is_no_response() {
        assert!(has_method(
            br#"{"jsonrpc":"2.0","method":"notifications/message","params":"#
        ));
        assert!(has_method(
            br#"{"method":"notifications/message","jsonrpc":"2.0""#
        ));
        assert!(!has_method(
            br#"{"jsonrpc":"2.0","id":7,"result":{"method":1"#
        ));
    }
}
