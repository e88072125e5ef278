//! The responses to messages that the parser rejects.

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use toolbooth_core::start_of;

use crate::lines::{MAX_LINE, id_of};

/// The maximum length of what is wrong with a message, in bytes.
const MAX_FAULT: usize = 256;

/// What a message is. Its other fields are skipped, whatever their depth and their values.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: Option<IgnoredAny>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Reads a field that is there. Null is a value.
fn present<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(field).map(Some)
}

/// Returns the response to a message that the parser rejects, with the id of a request if it is
/// valid. `None` for a notification, a response, and what is no JSON at all.
pub(super) fn rejected(line: &[u8], error: &serde_json::Error) -> Option<ServerJsonRpcMessage> {
    let id = match serde_json::from_slice::<Envelope>(line) {
        Ok(envelope) if envelope.method.is_some() => RequestId::deserialize(envelope.id?).ok(),
        Ok(envelope) if envelope.result.is_some() || envelope.error.is_some() => return None,
        Ok(_) => None,
        Err(error) if error.is_data() => None,
        Err(_) => return None,
    };
    let fault = error.to_string();
    let fault = format!("the message is invalid: {}", start_of(&fault, MAX_FAULT));
    Some(response(fault, id))
}

/// Returns the response to a message that is too long, if it is a request whose id is found.
pub(super) fn too_long(start: &[u8], end: &[u8]) -> Option<ServerJsonRpcMessage> {
    let method = b"\"method\"";
    let is_request = start.windows(method.len()).any(|part| part == method);
    let id = id_of(start, end).filter(|_| is_request)?;
    let fault = format!("the message is longer than {MAX_LINE} bytes");
    Some(response(fault, Some(id)))
}

fn response(fault: String, id: Option<RequestId>) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(ErrorData::invalid_request(fault, None), id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(line: &str) -> Option<Value> {
        let error = serde_json::from_str::<u8>("-").expect_err("no number");
        let response = rejected(line.as_bytes(), &error)?;
        let response = serde_json::to_value(response).expect("it serializes");
        assert_eq!(response["error"]["code"], -32600);
        Some(response["id"].clone())
    }

    #[test]
    fn the_response_to_a_request_has_its_id() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        for params in [r#""\ud83d""#, "1e999", &deep] {
            let line = format!(r#"{{"params":{params},"id":"a","method":"m"}}"#);
            assert_eq!(id(&line), Some(json!("a")), "{params}");
        }
    }

    #[test]
    fn the_response_to_what_has_no_valid_id_has_none() {
        for line in [
            r#"{"id":1.5,"method":"m"}"#,
            r#"{"id":null,"method":"m"}"#,
            r#"{"id":1,"id":2,"method":"m"}"#,
            r#"{"id":1}"#,
            r#"[{"id":1,"method":"m"}]"#,
            "7",
        ] {
            assert_eq!(id(line), Some(Value::Null), "{line}");
        }
    }

    #[test]
    fn notifications_responses_and_other_lines_get_no_response() {
        for line in [
            r#"{"method":"m","params":"\ud83d"}"#,
            r#"{"id":1,"result":"\ud83d"}"#,
            r#"{"id":1,"error":"\ud83d"}"#,
            r#"{"id":1,"method":"m","params":NaN}"#,
            r#"{"id":1,"method":"m""#,
            "",
        ] {
            assert_eq!(id(line), None, "{line}");
        }
    }

    #[test]
    fn of_a_message_that_is_too_long_only_a_request_gets_a_response() {
        let long = |start: &str, end: &str| too_long(start.as_bytes(), end.as_bytes()).is_some();
        assert!(long(
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":["#,
            "]}"
        ));
        assert!(long(r#"{"method":"m","params":["#, r#"],"id":1}"#));
        assert!(!long(r#"{"jsonrpc":"2.0","id":1,"result":["#, "]}"));
        assert!(!long(r#"{"method":"m","params":["#, "]}"));
    }
}
