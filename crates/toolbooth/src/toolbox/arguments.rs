//! Checks arguments against the schema of their tool.

use std::borrow::Cow;
use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use toolbooth_core::{MAX_JSON_DEPTH, ToolError, nests_too_deep};

/// The maximum number of steps back in a regular expression with look-around or back-references.
const MAX_BACKTRACKS: usize = 10_000;

/// The compiled schema of the arguments of a tool.
#[derive(Debug, Clone)]
pub(super) struct Arguments(Arc<Validator>);

// === impl Arguments ===

impl Arguments {
    /// Compiles a schema. References to other documents are faults: nothing is fetched.
    pub(super) fn new(schema: &Value) -> Result<Self, String> {
        let patterns = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
        let options = jsonschema::options().offline();
        let validator = options.with_pattern_options(patterns).build(schema);
        validator
            .map(|validator| Self(Arc::new(validator)))
            .map_err(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("{error} at {path}"),
            })
    }

    /// Checks arguments in the forms that models send, as `tool_fn` takes them: a value, a text of
    /// JSON, or nothing.
    pub(super) fn check(&self, args: &Value) -> Result<(), ToolError> {
        if nests_too_deep(args) {
            let message = format!("it nests deeper than {MAX_JSON_DEPTH} levels");
            return Err(ToolError::invalid_arguments(".", message));
        }
        // A tool may take a text, or `null`.
        let Err(first) = self.0.validate(args) else {
            return Ok(());
        };
        let args = match args {
            Value::Null => Cow::Owned(Value::Object(Map::new())),
            Value::String(text) => match parsed(text) {
                Some(args) => Cow::Owned(args),
                None => return Err(invalid(args, &first)),
            },
            _ => return Err(invalid(args, &first)),
        };
        let checked = self.0.validate(&args);
        checked.map_err(|error| invalid(&args, &error))
    }
}

/// Parses a text as arguments. An empty text and `null` are an object without fields.
fn parsed(text: &str) -> Option<Value> {
    match text.trim() {
        "" | "null" => Some(Value::Object(Map::new())),
        json => serde_json::from_str(json).ok(),
    }
}

/// Makes the error. It names the path, and quotes no values: they may be secret.
fn invalid(args: &Value, error: &ValidationError<'_>) -> ToolError {
    let path = dotted(args, error.instance_path().as_str());
    ToolError::invalid_arguments(path, error.masked().to_string())
}

/// Converts a JSON pointer into a path such as `filter.tags[2]`, or `.` for all arguments.
fn dotted(args: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut value = Some(args);
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = value {
            path = format!("{path}[{segment}]");
            value = segment
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index));
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path = format!("{path}{dot}{segment}");
            value = value.and_then(|value| value.get(&*segment));
        }
    }
    match path.is_empty() {
        true => ".".to_owned(),
        false => path,
    }
}
