//! Checks arguments and responses against the schemas of their tool.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use toolbooth_core::{MAX_JSON_DEPTH, ToolError, nests_too_deep};

use super::ToolSpec;
use super::shape::Shape;

/// The maximum number of steps back in a regular expression with look-around or back-references.
const MAX_BACKTRACKS: usize = 10_000;

/// The maximum work of the check of a response: the size of the value times that of its schema.
const MAX_WORK: usize = 200_000_000;

/// A compiled schema of a tool.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    validator: Arc<Validator>,
    shape: Shape,
}

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
            .map(|validator| Self {
                validator: Arc::new(validator),
                shape: Shape::of(schema),
            })
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
        let Err(first) = self.check(args) else {
            return Ok(());
        };
        let args = match args {
            Value::Null => Cow::Owned(Value::Object(Map::new())),
            Value::String(text) => match parsed(text) {
                Some(args) => Cow::Owned(args),
                None => return Err(first.into()),
            },
            _ => return Err(first.into()),
        };
        Ok(self.check(&args)?)
    }

    /// Checks a value. The error names the path, unless finding it may take too long.
    fn check(&self, value: &Value) -> Result<(), SchemaMismatch> {
        // It remembers the results of recursive schemas, which `validate` does not.
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if self.shape.explained_depth < usize::MAX
            && measure(value).depth > self.shape.explained_depth
        {
            return Err(SchemaMismatch {
                path: ".".to_owned(),
                message: "it does not match the schema".to_owned(),
            });
        }
        let checked = self.validator.validate(value);
        checked.map_err(|error| mismatch(value, &error))
    }
}

// === impl OutputSchema ===

impl OutputSchema {
    /// Checks the value of a response.
    pub(super) fn check(&self, spec: &ToolSpec, value: &Value) -> Result<(), SchemaMismatch> {
        let schema = self.0.get_or_init(|| {
            let schema = spec.output_schema()?;
            // A remote server may have sent it.
            let compiled = match Shape::of(schema).size {
                Some(_) => Schema::new(schema),
                None => Err("its references have no bound".to_owned()),
            };
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
        let size = schema.shape.size.unwrap_or(usize::MAX);
        if size.saturating_mul(measure(value).size) > MAX_WORK {
            tracing::warn!(tool = spec.name(), "a response is too large to be checked");
            return Ok(());
        }
        schema.check(value)
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

/// The size and the depth of a value.
struct Measure {
    /// The number of values in it.
    size: usize,
    depth: usize,
}

fn measure(value: &Value) -> Measure {
    let mut measure = Measure { size: 0, depth: 0 };
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        measure.size += 1;
        measure.depth = measure.depth.max(depth);
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|value| (value, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    measure
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
