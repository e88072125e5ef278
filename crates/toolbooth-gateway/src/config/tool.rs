use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use toolbooth::policy::{PolicyError, Setting};
use toolbooth::{CommandTool, ToolAnnotations};

use super::Secret;
use super::file::Reader;
use super::part::{CommandLine, Part};
use super::secret::Template;

/// A program that is a tool.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CommandConfig {
    /// The program.
    pub program: String,
    /// Its arguments, in which `{name}` is an argument of the call.
    pub args: Vec<Argument>,
    /// Its standard input, with placeholders as in an argument.
    pub stdin: Option<Secret>,
    /// The title of the tool, for people.
    pub title: Option<String>,
    /// The description of the tool, for models.
    pub description: Option<String>,
    /// The JSON Schema of the arguments, an object.
    pub input_schema: Value,
    /// What is known of the effects.
    pub annotations: ToolAnnotations,
    /// The variables that are set for it.
    pub env: BTreeMap<String, Secret>,
    /// The variables of this process that it has, beside those without secrets such as `PATH` and
    /// `HOME`.
    pub inherit_env: Vec<String>,
    /// Its working directory: by default that of this process.
    pub current_dir: Option<PathBuf>,
    /// What its standard output is: a text by default.
    pub output: Output,
    /// The exit codes of a success: 0 by default.
    pub ok_exit_codes: Vec<i32>,
    /// How many bytes of each output are kept: 1 MiB by default.
    pub max_output: usize,
}

/// Arguments of a program, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// One argument of every call.
    Required(Secret),
    /// Arguments that are left out together if a call does not have a value of a placeholder.
    Optional(Vec<Secret>),
}

/// What the standard output of a program is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Output {
    /// One text.
    #[default]
    Text,
    /// Lines, each of which is sent when it is there.
    Lines,
    /// A JSON value.
    Json,
}

/// The table of a tool in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of a command")]
pub(super) struct ToolTable {
    command: CommandLine<Part>,
    title: Option<String>,
    description: Option<String>,
    input: Option<BTreeMap<String, Value>>,
    input_schema: Option<Map<String, Value>>,
    stdin: Option<Template>,
    env: Option<BTreeMap<String, Template>>,
    inherit_env: Option<Vec<String>>,
    current_dir: Option<PathBuf>,
    #[serde(default)]
    output: Output,
    ok_exit_codes: Option<Vec<i32>>,
    #[serde(default)]
    max_output: Setting<u64>,
    read_only: Option<bool>,
    destructive: Option<bool>,
    idempotent: Option<bool>,
    open_world: Option<bool>,
}

/// The bytes of an output that are kept by default.
const MAX_OUTPUT: usize = 1 << 20;

/// The parts of a command after its program, with the variables filled in.
enum Filled {
    One(String),
    Several(Vec<String>),
}

// === impl ToolTable ===

impl ToolTable {
    pub(super) fn read(
        self,
        reader: &Reader<'_>,
        keys: &[&str],
    ) -> Result<CommandConfig, PolicyError> {
        let (program, parts) = self.command(reader, keys)?;
        let stdin = self.stdin.as_ref();
        let stdin = stdin
            .map(|stdin| reader.text(keys, "stdin", stdin))
            .transpose()?;
        let input = match &stdin {
            Some(text) => placeholders(&[text.expose()])
                .map_err(|message| reader.fault(keys, "stdin", message))?,
            None => Vec::new(),
        };
        let mut used = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let names = placeholders(&part.texts()).map_err(|message| {
                reader.fault_in(keys, "command", &(index + 1).to_string(), message)
            })?;
            used.push(names);
        }
        let all = used.iter().flatten().chain(&input);
        let schema = self.schema(reader, keys, &all.collect::<Vec<_>>())?;
        let required = required(&schema);
        if let Some(name) = input.iter().find(|name| !required.contains(name.as_str())) {
            let message = format!("`{name}` is optional, and an input cannot be left out");
            return Err(reader.fault(keys, "stdin", message));
        }
        let is_required =
            |names: &[String]| names.iter().all(|name| required.contains(name.as_str()));
        let args = parts.into_iter().zip(&used);
        let args = args
            .map(|(part, names)| part.argument(is_required(names)))
            .collect();
        let env = self.env.as_ref().map(|env| reader.table(keys, "env", env));
        let annotations = self.annotations();
        let config = CommandConfig {
            program,
            args,
            stdin,
            input_schema: schema,
            annotations,
            env: env.transpose()?.unwrap_or_default(),
            inherit_env: self.inherit_env.unwrap_or_default(),
            max_output: reader.size(keys, "max_output", &self.max_output, MAX_OUTPUT)?,
            title: self.title,
            description: self.description,
            current_dir: self.current_dir,
            output: self.output,
            ok_exit_codes: self.ok_exit_codes.unwrap_or_else(|| vec![0]),
        };
        let key = if self.input_schema.is_some() {
            "input_schema"
        } else {
            "input"
        };
        match config.tool("tool") {
            Ok(_) => Ok(config),
            Err(error) => Err(reader.fault(keys, key, error.to_string())),
        }
    }

    /// Returns the program and what follows it.
    fn command(
        &self,
        reader: &Reader<'_>,
        keys: &[&str],
    ) -> Result<(String, Vec<Filled>), PolicyError> {
        let Some((Part::One(program), parts)) = self.command.0.split_first() else {
            return Err(reader.fault(keys, "command", "it begins with a program"));
        };
        let program = reader.element(keys, "command", 0, program, |value| value)?;
        if program.is_empty() || program.contains(['{', '}']) {
            let message = "it begins with a program, which a call cannot choose";
            return Err(reader.fault_in(keys, "command", "0", message));
        }
        let mut filled = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            // A brace in a variable is no placeholder.
            let literal = |value: String| value.replace('{', "{{").replace('}', "}}");
            let text = |text| reader.element(keys, "command", index + 1, text, literal);
            filled.push(match part {
                Part::One(one) => Filled::One(text(one)?),
                Part::Several(several) => {
                    Filled::Several(several.iter().map(text).collect::<Result<_, _>>()?)
                }
            });
        }
        Ok((program, filled))
    }

    /// Returns the texts that may have placeholders, as they are in the file.
    fn texts(&self) -> impl Iterator<Item = &Template> {
        let command = self.command.0.iter().flat_map(|part| match part {
            Part::One(text) => std::slice::from_ref(text),
            Part::Several(texts) => texts,
        });
        command.chain(&self.stdin)
    }

    /// Returns the schema of the arguments.
    fn schema(
        &self,
        reader: &Reader<'_>,
        keys: &[&str],
        used: &[&String],
    ) -> Result<Value, PolicyError> {
        let (key, schema) = match (&self.input, &self.input_schema) {
            (Some(_), Some(_)) => {
                let message = "a tool has either `input` or `input_schema`";
                return Err(reader.fault(keys, "input_schema", message));
            }
            (None, Some(schema)) => ("input_schema", Value::Object(schema.clone())),
            (Some(input), None) => ("input", schema_of(reader, keys, input)?),
            (None, None) => {
                let names = used
                    .iter()
                    .map(|name| (name.to_string(), json!({ "type": "string" })));
                ("command", object(&names.collect(), &[]))
            }
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_known = |name: &str| properties.is_some_and(|all| all.contains_key(name));
        if let Some(name) = used.iter().find(|name| !is_known(name)) {
            // A variable within the braces is part of the name, and may be secret.
            let quoted = format!("{{{name}}}");
            let is_written = self.texts().any(|text| text.0.contains(&quoted));
            let what = match is_written {
                true => format!("`{quoted}`"),
                false => "a placeholder with a variable".to_owned(),
            };
            let message = format!("the command uses {what}, which is not described here");
            return Err(reader.fault(keys, key, message));
        }
        Ok(schema)
    }

    fn annotations(&self) -> ToolAnnotations {
        let mut annotations = ToolAnnotations::new();
        if let Some(read_only) = self.read_only {
            annotations = annotations.with_read_only(read_only);
        }
        if let Some(destructive) = self.destructive {
            annotations = annotations.with_destructive(destructive);
        }
        if let Some(idempotent) = self.idempotent {
            annotations = annotations.with_idempotent(idempotent);
        }
        if let Some(open_world) = self.open_world {
            annotations = annotations.with_open_world(open_world);
        }
        annotations
    }
}

/// Returns the schema of an object of these arguments. An argument is required, unless it has
/// `optional = true` or a default.
fn schema_of(
    reader: &Reader<'_>,
    keys: &[&str],
    input: &BTreeMap<String, Value>,
) -> Result<Value, PolicyError> {
    let mut properties = Map::new();
    let mut optional = Vec::new();
    for (name, schema) in input {
        let Value::Object(mut schema) = schema.clone() else {
            let message = "an argument is described by a table such as { type = \"string\" }";
            return Err(reader.fault_in(keys, "input", name, message));
        };
        match schema.remove("optional") {
            Some(Value::Bool(true)) => optional.push(name.as_str()),
            Some(Value::Bool(false)) | None => {}
            Some(_) => {
                let message = "`optional` is true or false";
                return Err(reader.fault_in(keys, "input", name, message));
            }
        }
        if !schema.contains_key("type") && !schema.contains_key("enum") {
            schema.insert("type".to_owned(), json!("string"));
        }
        properties.insert(name.clone(), Value::Object(schema));
    }
    Ok(object(&properties, &optional))
}

fn object(properties: &Map<String, Value>, optional: &[&str]) -> Value {
    let is_required = |(name, schema): &(&String, &Value)| {
        !optional.contains(&name.as_str()) && schema.get("default").is_none()
    };
    let required = properties
        .iter()
        .filter(is_required)
        .map(|(name, _)| name.clone());
    let required: Vec<String> = required.collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Returns the arguments that each call has: those that are required, and those with a default.
fn required(schema: &Value) -> HashSet<&str> {
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    let defaults = properties.filter(|(_, schema)| schema.get("default").is_some());
    required
        .chain(defaults.map(|(name, _)| name.as_str()))
        .collect()
}

/// Returns the names of the placeholders. The error does not quote the text.
fn placeholders(texts: &[&str]) -> Result<Vec<String>, String> {
    let command = CommandTool::new("", "")
        .with_args(texts)
        .map_err(|_error| {
            "a brace begins a placeholder such as `{path}`; write `{{` and `}}` for braces"
                .to_owned()
        })?;
    Ok(command.placeholders().map(str::to_owned).collect())
}

// === impl Filled ===

impl Filled {
    fn texts(&self) -> Vec<&str> {
        match self {
            Self::One(text) => vec![text],
            Self::Several(texts) => texts.iter().map(String::as_str).collect(),
        }
    }

    fn argument(self, is_required: bool) -> Argument {
        let texts = match self {
            Self::One(text) if is_required => return Argument::Required(Secret::new(text)),
            Self::One(text) => vec![text],
            Self::Several(texts) => texts,
        };
        Argument::Optional(texts.into_iter().map(Secret::new).collect())
    }
}

// === impl CommandConfig ===

impl CommandConfig {
    /// Returns the values of arguments that a call does not have.
    pub(crate) fn defaults(&self) -> Map<String, Value> {
        let properties = self
            .input_schema
            .get("properties")
            .and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        let defaults = properties.filter_map(|(name, schema)| {
            let default = schema.get("default")?;
            Some((name.clone(), default.clone()))
        });
        defaults.collect()
    }
}
