use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};
use toolbooth_core::ToolError;

/// Deserializes the arguments of a call: a JSON value, or a string of JSON as models send it.
///
/// An empty string, `null` and `{}` are no arguments. They deserialize into `()`, an `Option`, and
/// a struct with a default for each field.
pub(crate) fn parse<T: DeserializeOwned>(args: Value) -> Result<T, ToolError> {
    match args {
        Value::Null => absent(),
        Value::String(text) => {
            let args = match text.trim() {
                "" | "null" => absent(),
                "{}" => empty(),
                json => from_text(json),
            };
            // A handler may take the string itself.
            args.or_else(|error| from(Value::String(text)).map_err(|_later: ToolError| error))
        }
        Value::Object(fields) if fields.is_empty() => empty(),
        args => from(args),
    }
}

fn absent<T: DeserializeOwned>() -> Result<T, ToolError> {
    from(Value::Null).or_else(|_null: ToolError| from(Value::Object(Map::new())))
}

fn empty<T: DeserializeOwned>() -> Result<T, ToolError> {
    from(Value::Object(Map::new()))
        .or_else(|error: ToolError| from(Value::Null).map_err(|_null: ToolError| error))
}

fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, ToolError> {
    let mut text = serde_json::Deserializer::from_str(text);
    let args = from(&mut text)?;
    text.end()
        .map_err(|error| ToolError::invalid_arguments(".", error.to_string()))?;
    Ok(args)
}

fn from<'de, T: DeserializeOwned, D>(args: D) -> Result<T, ToolError>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(args).map_err(|error| {
        ToolError::invalid_arguments(error.path().to_string(), error.inner().to_string())
    })
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
