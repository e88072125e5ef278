//! How much work a schema can cause.
//!
//! A reference repeats the schema that it names. So a small schema can be a huge one in effect:
//! 25 definitions with two references each, to the next one, are 2^25 schemas. The schema of a
//! remote tool is not trusted, so its work is bounded before it is compiled.
//!
//! An explanation of a mismatch visits the schemas again at each level of the value, with every
//! alternative. For a schema that refers to itself, that can be exponential in the depth of the
//! value, also if the schema is harmless otherwise.

use serde_json::Value;

/// The maximum number of values in a schema, those that references repeat included.
const MAX_VISITS: usize = 100_000;

/// The maximum depth of a schema, with its references. Compilers of schemas recurse.
const MAX_DEPTH: usize = 256;

/// The maximum depth of values for which the work of a recursive schema is computed.
const MAX_REPEATS: usize = 8;

/// What a schema can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The number of values in the schema, or `None` if it has no bound.
    pub(super) size: Option<usize>,
    /// The depth of a value up to which the explanation of a mismatch is bounded.
    pub(super) explained_depth: usize,
}

/// A walk through a schema and what it refers to.
struct Walk<'a> {
    root: &'a Value,
    /// How often a reference may be followed within itself.
    repeats: usize,
    /// The references that are being followed.
    open: Vec<&'a str>,
    visits: usize,
    is_recursive: bool,
}

/// The schema is too large, or has references that the walk cannot follow.
struct Unbounded;

// === impl Shape ===

impl Shape {
    pub(super) fn of(schema: &Value) -> Self {
        let Ok(walk) = Walk::through(schema, 0) else {
            return Self {
                size: None,
                explained_depth: 0,
            };
        };
        let is_bounded = |depth: &usize| Walk::through(schema, *depth).is_ok();
        let explained_depth = match walk.is_recursive {
            false => usize::MAX,
            true => (1..=MAX_REPEATS).take_while(is_bounded).count(),
        };
        Self {
            size: Some(walk.visits),
            explained_depth,
        }
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn through(root: &'a Value, repeats: usize) -> Result<Self, Unbounded> {
        let mut walk = Self {
            root,
            repeats,
            open: Vec::new(),
            visits: 0,
            is_recursive: false,
        };
        walk.visit(root, 0)?;
        Ok(walk)
    }

    fn visit(&mut self, value: &'a Value, depth: usize) -> Result<(), Unbounded> {
        self.visits += 1;
        if self.visits > MAX_VISITS || depth > MAX_DEPTH {
            return Err(Unbounded);
        }
        match value {
            Value::Array(values) => {
                for value in values {
                    self.visit(value, depth + 1)?;
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(reference)) => self.follow(reference, depth + 1)?,
                        // Their targets depend on the schemas around them.
                        ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err(Unbounded);
                        }
                        // References within it are relative to it.
                        ("$id" | "id", Value::String(_)) if depth > 0 => return Err(Unbounded),
                        // Visited where a reference names them.
                        ("$defs" | "definitions", _) if depth == 0 => {}
                        _ => self.visit(value, depth + 1)?,
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn follow(&mut self, reference: &'a str, depth: usize) -> Result<(), Unbounded> {
        let repeats = self.open.iter().filter(|open| **open == reference);
        if repeats.count() > self.repeats {
            self.is_recursive = true;
            return Ok(());
        }
        let pointer = reference.strip_prefix('#').ok_or(Unbounded)?;
        let pointer = decoded(pointer).ok_or(Unbounded)?;
        let target = self.root.pointer(&pointer).ok_or(Unbounded)?;
        self.open.push(reference);
        self.visit(target, depth + usize::from(pointer.is_empty()))?;
        self.open.pop();
        Ok(())
    }
}

/// Decodes the percent-encoding of a fragment.
fn decoded(fragment: &str) -> Option<String> {
    let mut parts = fragment.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A schema of definitions, each of which refers to the next one `times` times.
    fn chain(length: usize, times: usize) -> Value {
        let mut schema = json!({ "$defs": { "0": {} }, "$ref": format!("#/$defs/{length}") });
        for at in 0..length {
            let next = vec![json!({ "$ref": format!("#/$defs/{at}") }); times];
            schema["$defs"][(at + 1).to_string()] = json!({ "oneOf": next });
        }
        schema
    }

    #[test]
    fn size_counts_what_references_repeat() {
        let size = |schema| Shape::of(&schema).size;
        assert_eq!(size(json!({ "type": "object" })), Some(2));
        assert_eq!(size(chain(1, 1)), Some(5));
        assert_eq!(size(chain(1, 2)), Some(7));
        assert_eq!(size(chain(25, 2)), None);
        assert_eq!(size(chain(1_000, 1)), None);
        let spaced = json!({ "$defs": { "a b": true }, "$ref": "#/$defs/a%20b" });
        assert_eq!(size(spaced), Some(2));
    }

    #[test]
    fn references_that_cannot_be_followed_have_no_bound() {
        for schema in [
            json!({ "$ref": "#name" }),
            json!({ "$ref": "other.json" }),
            json!({ "$ref": "#/%zz" }),
            json!({ "items": { "$id": "a", "$ref": "#/$defs/b" } }),
            json!({ "$dynamicRef": "#node" }),
        ] {
            assert_eq!(Shape::of(&schema).size, None, "{schema}");
        }
    }

    #[test]
    fn explained_depth_of_a_recursive_schema_is_limited() {
        let explained = |schema| Shape::of(&schema).explained_depth;
        assert_eq!(explained(json!({ "type": "object" })), usize::MAX);
        let node = json!({ "properties": { "next": { "$ref": "#" } } });
        assert_eq!(explained(node), MAX_REPEATS);
        let many = vec![json!({ "properties": { "next": { "$ref": "#" } } }); 20];
        assert_eq!(explained(json!({ "oneOf": many })), 1);
    }
}
