//! Deserializes arguments, as models send them, into the types of handlers.

use serde::de::value::Error as PlainError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::error::Category;
use serde_json::{Map, Value};
use toolbooth_core::ToolError;

use super::lenient::Lenient;

/// The greatest integer up to which a float represents each integer.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Options for arguments that do not fit the handler's type.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ArgsPolicy {
    /// Whether a text is parsed as JSON where another type is wanted.
    pub(super) lenient: bool,
    /// Whether a tool without parameters rejects arguments.
    pub(super) strict: bool,
}

/// Deserializes into types without content only, such as `()`.
struct NoContent;

/// Deserializes the arguments of a call: a JSON value, or a string of JSON as models send it.
///
/// An empty string, `null` and `{}` are no arguments. They deserialize into `()`, an `Option`, and
/// a struct with a default for each field.
pub(super) fn parse_with<T: DeserializeOwned>(
    args: Value,
    policy: ArgsPolicy,
) -> Result<T, ToolError> {
    match args {
        Value::Null => absent(),
        Value::String(text) => {
            let args = match text.trim() {
                "" | "null" => absent(),
                "{}" => empty(),
                json => from_text(json, policy),
            };
            // A handler may take the string itself.
            args.or_else(|error| from(Value::String(text)).map_err(|_later: ToolError| error))
        }
        Value::Object(fields) if fields.is_empty() => empty(),
        args => from_value(args, policy),
    }
}

/// Deserializes the arguments of a call by the default policy.
#[cfg(any(test, all(feature = "process", unix)))]
pub(crate) fn parse<T: DeserializeOwned>(args: Value) -> Result<T, ToolError> {
    parse_with(args, ArgsPolicy::default())
}

fn absent<T: DeserializeOwned>() -> Result<T, ToolError> {
    from(Value::Null).or_else(|_null: ToolError| from(Value::Object(Map::new())))
}

fn empty<T: DeserializeOwned>() -> Result<T, ToolError> {
    from(Value::Object(Map::new()))
        .or_else(|error: ToolError| from(Value::Null).map_err(|_null: ToolError| error))
}

fn from_text<T: DeserializeOwned>(text: &str, policy: ArgsPolicy) -> Result<T, ToolError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let args = from(&mut json).and_then(|args| match json.end() {
        Ok(()) => Ok(args),
        Err(error) => Err(ToolError::invalid_arguments(".", error.to_string())),
    });
    args.or_else(|error| match serde_json::from_str(text) {
        Ok(args) => from_value(args, policy),
        Err(_) => Err(error),
    })
}

fn from_value<T: DeserializeOwned>(mut args: Value, policy: ArgsPolicy) -> Result<T, ToolError> {
    if args.is_object() && !policy.strict && T::deserialize(NoContent).is_ok() {
        return from(Value::Null);
    }
    let has_whole_float = has_whole_float(&args);
    if !has_whole_float && !policy.lenient {
        // Moved: strings are not copied.
        return from(args);
    }
    let mut result = from(&args);
    if result.is_err() && has_whole_float {
        make_whole(&mut args);
        result = from(&args);
    }
    match result {
        // The error of what was sent is clearer than that of what was parsed from it.
        Err(error) if policy.lenient => {
            from(Lenient::new(args)).map_err(|_parsed: ToolError| error)
        }
        result => result,
    }
}

fn from<'de, T: DeserializeOwned, D>(args: D) -> Result<T, ToolError>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(args).map_err(|error| {
        let message = error.inner().to_string();
        match error.inner().classify() {
            // Broken JSON has a position, but no path.
            Category::Syntax | Category::Eof => ToolError::invalid_arguments(".", message),
            _ => ToolError::invalid_arguments(error.path().to_string(), message),
        }
    })
}

// === whole numbers

/// Returns whether any number is a float without a fraction, which JSON Schema takes for an
/// integer ([draft 2020-12, 4.2.3](https://json-schema.org/draft/2020-12/json-schema-core#section-4.2.3)).
fn has_whole_float(args: &Value) -> bool {
    let mut open = vec![args];
    while let Some(value) = open.pop() {
        match value {
            Value::Number(_) if whole(value).is_some() => return true,
            Value::Array(values) => open.extend(values),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    false
}

/// Replaces floats without a fraction by integers.
fn make_whole(args: &mut Value) {
    let mut open = vec![args];
    while let Some(value) = open.pop() {
        if let Some(integer) = whole(value) {
            *value = Value::from(integer);
        }
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(fields) => open.extend(fields.values_mut()),
            _ => {}
        }
    }
}

/// Returns the integer that a float is equal to. `None` beyond 2^53, where floats are rounded.
#[expect(
    clippy::cast_possible_truncation,
    reason = "an integer of at most 2^53"
)]
pub(super) fn whole(value: &Value) -> Option<i64> {
    let float = value.as_f64().filter(|_| value.is_f64())?;
    (float.fract() == 0.0 && float.abs() <= MAX_WHOLE).then_some(float as i64)
}

// === impl NoContent ===

impl<'de> Deserializer<'de> for NoContent {
    type Error = PlainError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, PlainError> {
        Err(PlainError::custom("a type with content"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Default)]
    struct Search {
        #[serde(default)]
        filter: Filter,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    struct Filter {
        limit: u32,
    }

    #[test]
    fn error_of_an_invalid_argument_has_its_path() {
        for args in [
            json!({ "filter": { "limit": "ten" } }),
            json!(r#"{"filter":{"limit":"ten"}}"#),
        ] {
            let error = parse::<Search>(args).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("invalid arguments at `filter.limit`: invalid type"),
                "{error}"
            );
        }
    }

    #[test]
    fn missing_arguments_fit_defaults_and_unit() {
        for none in [json!(null), json!(""), json!("null"), json!({})] {
            assert_eq!(parse::<Search>(none).unwrap(), Search::default());
        }
        for none in [json!(null), json!(""), json!("{}"), json!({})] {
            parse::<()>(none).unwrap();
        }
        assert_eq!(parse::<Option<Filter>>(json!(null)).unwrap(), None);
    }

    #[test]
    fn string_is_parsed_as_json_or_taken_as_it_is() {
        assert_eq!(
            parse::<Filter>(json!(r#"{"limit":3}"#)).unwrap(),
            Filter { limit: 3 }
        );
        assert_eq!(
            parse::<String>(json!("hello there")).unwrap(),
            "hello there"
        );
        for text in ["", "null", "{}"] {
            assert_eq!(parse::<String>(json!(text)).unwrap(), text);
        }
        let error = parse::<Filter>(json!("{\"limit\":")).unwrap_err();
        assert!(error.to_string().contains("EOF while parsing"), "{error}");
    }
}
