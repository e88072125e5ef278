use std::error::Error;
use std::fmt;

use serde_json::Value;
use toolbooth_core::{MAX_JSON_DEPTH, Name, nests_too_deep, start_of};

use super::ToolSpec;

/// Why a toolbox cannot be built or changed.
///
/// It has all faults that were found. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolboxError {
    faults: Vec<ToolboxFault>,
}

/// One fault of a [`ToolboxError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolboxFault {
    /// There is a tool of this name already.
    #[error("there is a tool named `{name}` already: use `replace`, or another name")]
    #[non_exhaustive]
    Duplicate {
        /// The name.
        name: Name,
    },
    /// The name of a tool is empty, too long, or has control characters.
    #[error(
        "`{name}` cannot be the name of a tool: \
         a name has 1 to {MAX_NAME} bytes and no control characters"
    )]
    #[non_exhaustive]
    InvalidName {
        /// The name, shortened.
        name: Name,
    },
    /// A schema of a tool is not a JSON Schema.
    #[error("the {schema} schema of `{tool}` is invalid: {message}")]
    #[non_exhaustive]
    InvalidSchema {
        /// The tool.
        tool: Name,
        /// The schema: `input` or `output`.
        schema: &'static str,
        /// What is wrong.
        message: Box<str>,
    },
    /// The policies cannot be used: a value is out of its range, or a name is unknown.
    #[error("the policies are invalid: {message}")]
    #[non_exhaustive]
    Policies {
        /// What is wrong, and where.
        message: Box<str>,
    },
    /// There is no tool of the name that a setting or a change has.
    #[error("{what} names the tool `{name}`, which is not there{}", did_you_mean(.nearest))]
    #[non_exhaustive]
    UnknownTool {
        /// What has the name, such as `with_timeout`.
        what: &'static str,
        /// The name, shortened.
        name: Name,
        /// The most similar names of tools, the nearest first.
        nearest: Vec<Name>,
    },
}

/// The maximum length of the name of a tool, in bytes.
pub(super) const MAX_NAME: usize = 128;

// === impl ToolboxError ===

impl ToolboxError {
    /// Returns the faults: at least one.
    #[must_use]
    pub fn faults(&self) -> &[ToolboxFault] {
        &self.faults
    }

    /// Returns an error if there is a fault.
    pub(super) fn of(faults: Vec<ToolboxFault>) -> Result<(), Self> {
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Self { faults }),
        }
    }
}

impl ToolboxFault {
    pub(super) fn invalid_schema(spec: &ToolSpec, schema: &'static str, message: String) -> Self {
        Self::InvalidSchema {
            tool: spec.tool_name().clone(),
            schema,
            message: message.into(),
        }
    }
}

impl From<ToolboxFault> for ToolboxError {
    fn from(fault: ToolboxFault) -> Self {
        let faults = vec![fault];
        Self { faults }
    }
}

impl fmt::Display for ToolboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            let before = if position == 0 { "" } else { "; " };
            write!(f, "{before}{fault}")?;
        }
        Ok(())
    }
}

impl Error for ToolboxError {}

fn did_you_mean(nearest: &[Name]) -> String {
    let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(": did you mean {}?", names.join(" or ")),
    }
}

/// Returns the name, shortened if it is too long for a tool.
pub(super) fn shortened(name: &str) -> Name {
    if name.len() <= MAX_NAME {
        return Name::from(name);
    }
    Name::from(format_args!("{}...", start_of(name, MAX_NAME)))
}

/// Checks the description of a tool.
pub(super) fn check_spec(spec: &ToolSpec) -> Result<(), ToolboxFault> {
    check_name(spec.name())?;
    check_schema(spec, "input", spec.input_schema())?;
    spec.output_schema()
        .map_or(Ok(()), |schema| check_schema(spec, "output", schema))
}

fn check_schema(spec: &ToolSpec, which: &'static str, schema: &Value) -> Result<(), ToolboxFault> {
    if !(schema.is_object() || schema.is_boolean()) {
        let message = "a JSON Schema is an object or a boolean".to_owned();
        return Err(ToolboxFault::invalid_schema(spec, which, message));
    }
    match nests_too_deep(schema) {
        false => Ok(()),
        true => {
            let message = format!("it nests deeper than {MAX_JSON_DEPTH} levels");
            Err(ToolboxFault::invalid_schema(spec, which, message))
        }
    }
}

fn check_name(name: &str) -> Result<(), ToolboxFault> {
    let is_valid = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    match is_valid {
        true => Ok(()),
        false => Err(ToolboxFault::InvalidName {
            name: shortened(name),
        }),
    }
}
