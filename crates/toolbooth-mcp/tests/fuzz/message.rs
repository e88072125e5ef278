//! Messages of clients, valid ones and those with changes.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::change::{changed_text, changed_value};
use crate::server::TOOLS;

/// What stands for JSON that a [`Value`] cannot have: see [`to_text`].
const SPECIAL: [(&str, &str); 5] = [
    ("@surrogate", "\\ud83d"),
    ("\"@huge\"", "1e999"),
    ("\"@long\"", "123456789012345678901234567890"),
    ("\"@nan\"", "NaN"),
    ("\"@deep\"", ""),
];

/// The depth of `@deep`.
const DEEP: usize = 300;

/// Bytes that a failure shows as text.
#[derive(Clone)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// The text of one message, or of what is none. Without a line feed at its end.
pub(crate) fn message() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        5 => request(),
        2 => notification(),
        1 => response(),
    ];
    let whole = prop_oneof![
        4 => whole.clone(),
        4 => changed_value(whole.clone(), any_json()),
        1 => vec(whole, 0..4).prop_map(Value::Array),
        1 => any_json(),
    ];
    let text = whole.prop_map(|message| to_text(&message));
    prop_oneof![
        5 => text.clone(),
        1 => changed_text(text),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// The request that begins a session.
pub(crate) fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": "begin",
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        },
    })
}

pub(crate) fn to_text(message: &Value) -> Vec<u8> {
    let mut text = message.to_string();
    for (name, special) in SPECIAL {
        let deep = || format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
        let special = if special.is_empty() {
            deep()
        } else {
            special.to_owned()
        };
        text = text.replace(name, &special);
    }
    text.into_bytes()
}

/// Ids that are valid mostly, and often equal.
fn id() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        12 => (0..6_i64).prop_map(Value::from),
        4 => select(&["a", "b", "0", "", "\u{0}", "@surrogate"][..]).prop_map(Value::from),
        1 => select(&[i64::MIN, i64::MAX, -1][..]).prop_map(Value::from),
        1 => any_json(),
    ]
}

fn any_json() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        select(&["@surrogate", "@huge", "@long", "@nan", "@deep"][..]).prop_map(Value::from),
        select(vec![json!({}), json!([]), json!("x".repeat(3_000))]),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let object = vec((key(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::Array),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub(crate) fn key() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "jsonrpc",
        "method",
        "params",
        "result",
        "error",
        "_meta",
        "name",
        "arguments",
        "progressToken",
        "requestId",
        "cursor",
        "protocolVersion",
        "text",
    ];
    prop_oneof![select(known.to_vec()).prop_map(str::to_owned), ".{0,4}"]
}

/// `_meta`: of a request that stands for itself, with a token or a timeout, any, or none.
fn meta() -> impl Strategy<Value = Option<Value>> {
    let prefix = "io.modelcontextprotocol";
    let version = select(&["2026-07-28", "2026-07-28", "2025-11-25", "2099-01-01", ""][..]);
    let token = option::of(id());
    let timeout = option::of(prop_oneof![
        (0..3_000_u64).prop_map(Value::from),
        any_json()
    ]);
    let stateless = any::<bool>();
    let known = (version, token, timeout, stateless).prop_map(
        move |(version, token, timeout, stateless)| {
            let mut meta = Map::new();
            if stateless {
                meta.insert(format!("{prefix}/protocolVersion"), version.into());
                let client = json!({ "name": "test", "version": "1" });
                meta.insert(format!("{prefix}/clientInfo"), client);
                meta.insert(format!("{prefix}/clientCapabilities"), json!({}));
            }
            meta.extend(token.map(|token| ("progressToken".to_owned(), token)));
            let key = toolbooth_mcp::TIMEOUT_META_KEY.to_owned();
            meta.extend(timeout.map(|timeout| (key, timeout)));
            Some(Value::Object(meta))
        },
    );
    prop_oneof![2 => Just(None), 8 => known, 1 => any_json().prop_map(Some)]
}

fn request() -> impl Strategy<Value = Value> + Clone {
    let arguments = prop_oneof![
        Just(json!({})),
        (key(), any_json()).prop_map(|(key, value)| json!({ key: value })),
        any_json(),
    ];
    let tool = prop_oneof![4 => select(&TOOLS[..]), 1 => Just("none")];
    let call = (tool, arguments)
        .prop_map(|(name, arguments)| json!({ "name": name, "arguments": arguments }));
    let list = option::of(any_json()).prop_map(|cursor| match cursor {
        Some(cursor) => json!({ "cursor": cursor }),
        None => json!({}),
    });
    let listen = json!({ "notifications": { "toolsListChanged": true } });
    let others = [
        "resources/list",
        "prompts/get",
        "logging/setLevel",
        "completion/complete",
        "tasks/get",
        "sampling/createMessage",
        "notifications/cancelled",
        "unknown",
        "",
    ];
    let content = prop_oneof![
        6 => call.prop_map(|params| ("tools/call", params)),
        2 => list.prop_map(|params| ("tools/list", params)),
        1 => Just(("ping", json!({}))),
        1 => Just(("server/discover", json!({}))),
        1 => Just(("subscriptions/listen", listen)),
        1 => Just(("initialize", initialize()["params"].clone())),
        1 => (select(others.to_vec()), any_json()),
    ];
    (id(), content, meta())
        .prop_map(|(id, (method, mut params), meta)| {
            if let (Some(params), Some(meta)) = (params.as_object_mut(), meta) {
                params.insert("_meta".to_owned(), meta);
            }
            json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        })
        .boxed()
}

fn notification() -> impl Strategy<Value = Value> + Clone {
    let cancelled = id().prop_map(|id| ("notifications/cancelled", json!({ "requestId": id })));
    let progress = (id(), any_json()).prop_map(|(token, progress)| {
        let params = json!({ "progressToken": token, "progress": progress });
        ("notifications/progress", params)
    });
    let others = [
        "notifications/initialized",
        "notifications/roots/list_changed",
        "notifications/unknown",
        "tools/call",
        "ping",
        "unknown",
    ];
    let content = prop_oneof![
        4 => cancelled,
        1 => progress,
        1 => Just(("notifications/initialized", json!({}))),
        1 => (select(others.to_vec()), any_json()),
    ];
    content
        .prop_map(
            |(method, params)| json!({ "jsonrpc": "2.0", "method": method, "params": params }),
        )
        .boxed()
}

/// Responses to requests that the server has not sent.
fn response() -> impl Strategy<Value = Value> + Clone {
    let error = any_json().prop_map(|data| json!({ "code": -1, "message": "m", "data": data }));
    prop_oneof![
        (id(), any_json())
            .prop_map(|(id, result)| json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        (id(), error).prop_map(|(id, error)| json!({ "jsonrpc": "2.0", "id": id, "error": error })),
    ]
    .boxed()
}
