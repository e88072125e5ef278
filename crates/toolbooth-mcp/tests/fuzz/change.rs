//! Changes of messages.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::message::key;

/// A change of one value within a message.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    /// Removes a field or an element.
    Remove(Index),
    /// Adds a field or an element.
    Add(String, Value),
    /// Wraps it in a list.
    Wrap,
}

/// A change of the bytes of a message.
#[derive(Debug, Clone)]
enum Edit {
    Truncate,
    Remove(usize),
    Insert(&'static [u8]),
    Byte(u8),
}

const INSERTED: [&[u8]; 16] = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b",",
    b"\\ud800",
    b"\"id\":1,",
    b"\"method\":\"ping\",",
];

/// Changes values of a message at up to three places.
pub(crate) fn changed_value(
    message: impl Strategy<Value = Value>,
    other: impl Strategy<Value = Value> + Clone,
) -> impl Strategy<Value = Value> {
    let change = prop_oneof![
        2 => other.clone().prop_map(Change::Replace),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => (key(), other).prop_map(|(key, value)| Change::Add(key, value)),
        1 => Just(Change::Wrap),
    ];
    let changes = vec((any::<Index>(), change), 1..4);
    (message, changes).prop_map(|(mut message, changes)| {
        for (at, change) in changes {
            let mut at = at.index(count(&message));
            if let Some(value) = nth(&mut message, &mut at) {
                apply(value, change);
            }
        }
        message
    })
}

/// Changes bytes of a message at up to three places.
pub(crate) fn changed_text(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = prop_oneof![
        1 => Just(Edit::Truncate),
        1 => (1_usize..8).prop_map(Edit::Remove),
        3 => select(&INSERTED[..]).prop_map(Edit::Insert),
        1 => any::<u8>().prop_map(Edit::Byte),
    ];
    (text, vec((any::<Index>(), edit), 1..4)).prop_map(|(mut text, edits)| {
        for (at, edit) in edits {
            let at = at.index(text.len() + 1);
            match edit {
                Edit::Truncate => text.truncate(at),
                Edit::Remove(length) => {
                    let end = (at + length).min(text.len());
                    drop(text.drain(at..end));
                }
                Edit::Insert(bytes) => drop(text.splice(at..at, bytes.iter().copied())),
                Edit::Byte(byte) => text.insert(at, byte),
            }
        }
        text
    })
}

/// Returns the number of values in a value, with itself.
fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    };
    inner + 1
}

fn nth<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, at)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, at)),
        _ => None,
    }
}

fn apply(value: &mut Value, change: Change) {
    match (change, value) {
        (Change::Replace(other), value) => *value = other,
        (Change::Remove(at), Value::Array(list)) if !list.is_empty() => {
            list.remove(at.index(list.len()));
        }
        (Change::Remove(at), Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(at.index(fields.len())).cloned();
            fields.remove(&key.expect("less than the length"));
        }
        (Change::Add(_, other), Value::Array(list)) => list.push(other),
        (Change::Add(key, other), Value::Object(fields)) => drop(fields.insert(key, other)),
        (Change::Wrap, value) => *value = Value::Array(vec![value.take()]),
        (Change::Remove(_) | Change::Add(..), _) => {}
    }
}
