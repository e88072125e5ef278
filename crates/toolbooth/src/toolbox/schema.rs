//! Checks arguments and responses against the schemas of their tool.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use toolbooth_core::{MAX_JSON_DEPTH, ToolError, nests_too_deep};

use super::ToolSpec;

/// The maximum number of steps back in a regular expression with look-around or back-references.
const MAX_BACKTRACKS: usize = 10_000;

/// A compiled schema of a tool.
#[derive(Debug, Clone)]
pub(super) struct Schema(Arc<Validator>);

/// The compiled output schema of a tool, made when it is first used. `None` without one, and for
/// one that cannot be compiled.
#[derive(Debug, Clone, Default)]
pub(super) struct OutputSchema(Arc<OnceLock<Option<Schema>>>);

/// A value that does not match a schema. It names the path, and quotes no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{path}`: {message}")]
#[non_exhaustive]
pub struct SchemaMismatch {
    /// The path within the value, such as `filter.tags[2]`, or `.` for all of it.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

// === impl Schema ===

impl Schema {
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
    pub(super) fn check_arguments(&self, args: &Value) -> Result<(), ToolError> {
        check_depth(args)?;
        // A tool may take a text, or `null`.
        let Err(first) = self.0.validate(args) else {
            return Ok(());
        };
        let args = match args {
            Value::Null => Cow::Owned(Value::Object(Map::new())),
            Value::String(text) => match parsed(text) {
                Some(args) => Cow::Owned(args),
                None => return Err(mismatch(args, &first).into()),
            },
            _ => return Err(mismatch(args, &first).into()),
        };
        let checked = self.0.validate(&args);
        Ok(checked.map_err(|error| mismatch(&args, &error))?)
    }
}

// === impl OutputSchema ===

impl OutputSchema {
    /// Checks the value of a response.
    pub(super) fn check(&self, spec: &ToolSpec, value: &Value) -> Result<(), SchemaMismatch> {
        let schema = self.0.get_or_init(|| {
            let compiled = Schema::new(spec.output_schema()?);
            // The tool works all the same, as without the feature.
            let log = |message: &String| {
                tracing::warn!(
                    tool = spec.name(),
                    message,
                    "the output schema is not checked"
                );
            };
            compiled.inspect_err(log).ok()
        });
        let Some(schema) = schema else {
            return Ok(());
        };
        check_depth(value)?;
        let checked = schema.0.validate(value);
        checked.map_err(|error| mismatch(value, &error))
    }
}

// === impl SchemaMismatch ===

impl From<SchemaMismatch> for ToolError {
    fn from(mismatch: SchemaMismatch) -> Self {
        Self::invalid_arguments(mismatch.path, mismatch.message)
    }
}

/// Parses a text as arguments. An empty text and `null` are an object without fields.
fn parsed(text: &str) -> Option<Value> {
    match text.trim() {
        "" | "null" => Some(Value::Object(Map::new())),
        json => serde_json::from_str(json).ok(),
    }
}

/// Makes the error. It quotes no values: they may be secret.
fn mismatch(value: &Value, error: &ValidationError<'_>) -> SchemaMismatch {
    SchemaMismatch {
        path: dotted(value, error.instance_path().as_str()),
        message: error.masked().to_string(),
    }
}

fn check_depth(value: &Value) -> Result<(), SchemaMismatch> {
    match nests_too_deep(value) {
        false => Ok(()),
        true => Err(SchemaMismatch {
            path: ".".to_owned(),
            message: format!("it nests deeper than {MAX_JSON_DEPTH} levels"),
        }),
    }
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
