use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use toolbooth_core::Name;

use super::ToolAnnotations;

/// The description of a tool: its name, the schemas of its arguments and its result, and hints
/// about its effects.
///
/// It serializes to the JSON of a tool in MCP, and deserializes from it. Clones share the contents.
///
/// ```
/// use serde_json::json;
/// use toolbooth::{ToolAnnotations, ToolSpec};
///
/// let spec = ToolSpec::new("search")
///     .with_description("Finds files by a pattern")
///     .with_input_schema(json!({
///         "type": "object",
///         "properties": { "pattern": { "type": "string" } },
///         "required": ["pattern"],
///     }))
///     .with_annotations(ToolAnnotations::new().with_read_only(true));
///
/// let json = serde_json::to_value(&spec)?;
/// assert_eq!(json["annotations"]["readOnlyHint"], true);
/// assert_eq!(json["inputSchema"]["required"], json!(["pattern"]));
/// assert_eq!(serde_json::from_value::<ToolSpec>(json)?, spec);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec(Arc<Fields>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default = "any_object")]
    input_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<ToolAnnotations>,
    /// Whether the annotations are hints for clients alone.
    #[serde(skip)]
    is_untrusted: bool,
}

// === impl ToolSpec ===

impl ToolSpec {
    /// Creates the description of a tool that takes any JSON object, and of whose effects nothing
    /// is known.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self(Arc::new(Fields {
            name: name.into(),
            title: None,
            description: None,
            input_schema: any_object(),
            output_schema: None,
            annotations: None,
            is_untrusted: false,
        }))
    }

    /// Creates the description of a tool that takes `Args`, with the schema of that type.
    ///
    /// The trait is that of the crate `schemars`, version 1. A type without content, such as `()`,
    /// is an object without fields, as models send it. Fields that the type does not have are
    /// ignored, unless it has `#[serde(deny_unknown_fields)]`: then the schema forbids them.
    ///
    /// ```
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    /// use toolbooth::{BoxError, ToolSpec, Toolbox, tool_fn};
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Search {
    ///     /// A pattern with wildcards.
    ///     pattern: String,
    /// }
    ///
    /// async fn search(args: Search) -> Result<Vec<String>, BoxError> {
    ///     Ok(vec![args.pattern])
    /// }
    ///
    /// let spec = ToolSpec::of::<Search>("search").with_output_of::<Vec<String>>();
    /// let pattern = &spec.input_schema()["properties"]["pattern"];
    /// assert_eq!(pattern["description"], "A pattern with wildcards.");
    /// assert_eq!(spec.output_schema().map(|schema| &schema["type"]), Some(&"array".into()));
    ///
    /// let toolbox = Toolbox::builder().tool(spec, tool_fn("search", search)).build()?;
    /// # assert_eq!(toolbox.len(), 1);
    /// # Ok::<_, BoxError>(())
    /// ```
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn of<Args: schemars::JsonSchema>(name: impl Into<Name>) -> Self {
        let schema = schemars::schema_for!(Args).to_value();
        match schema.get("type").and_then(Value::as_str) {
            Some("null") => Self::new(name),
            _ => Self::new(name).with_input_schema(schema),
        }
    }

    /// Sets the JSON Schema of the result to that of `Output`.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn with_output_of<Output: schemars::JsonSchema>(self) -> Self {
        self.with_output_schema(schemars::schema_for!(Output).to_value())
    }

    /// Sets the title, for people.
    #[must_use]
    pub fn with_title(self, title: impl Into<String>) -> Self {
        self.with(|fields| fields.title = Some(title.into()))
    }

    /// Sets the description, for models.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        self.with(|fields| fields.description = Some(description.into()))
    }

    /// Sets the JSON Schema of the arguments. By default they are any object.
    #[must_use]
    pub fn with_input_schema(self, schema: Value) -> Self {
        self.with(|fields| fields.input_schema = schema)
    }

    /// Sets the JSON Schema of the result.
    #[must_use]
    pub fn with_output_schema(self, schema: Value) -> Self {
        self.with(|fields| fields.output_schema = Some(schema))
    }

    /// Sets the hints about the effects of the tool.
    #[must_use]
    pub fn with_annotations(self, annotations: ToolAnnotations) -> Self {
        self.with(|fields| fields.annotations = Some(annotations))
    }

    /// Sets whether the annotations are trusted: by default they are.
    ///
    /// Clients read those that are not, in the JSON of the description and by
    /// [`hints`](Self::hints). They do not count here: [`annotations`](Self::annotations) are then
    /// the defaults of MCP. For tools of others, such as those of a remote server.
    ///
    /// ```
    /// use toolbooth::{ToolAnnotations, ToolSpec};
    ///
    /// let hints = ToolAnnotations::new().with_read_only(true);
    /// let spec = ToolSpec::new("search").with_annotations(hints).with_trusted_annotations(false);
    /// assert!(!spec.annotations().is_read_only());
    /// assert!(spec.hints().is_read_only());
    /// ```
    #[must_use]
    pub fn with_trusted_annotations(self, is_trusted: bool) -> Self {
        self.with(|fields| fields.is_untrusted = !is_trusted)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the title, if set.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// Returns the description, if set.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Returns the JSON Schema of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> &Value {
        &self.0.input_schema
    }

    /// Returns the JSON Schema of the result, if set.
    #[must_use]
    pub fn output_schema(&self) -> Option<&Value> {
        self.0.output_schema.as_ref()
    }

    /// Returns the hints about the effects of the tool that are
    /// [trusted](Self::with_trusted_annotations). Without any, the defaults of MCP.
    #[must_use]
    pub fn annotations(&self) -> ToolAnnotations {
        match self.0.is_untrusted {
            true => ToolAnnotations::new(),
            false => self.hints(),
        }
    }

    /// Returns the hints about the effects of the tool, for clients. Without any, the defaults of
    /// MCP.
    #[must_use]
    pub fn hints(&self) -> ToolAnnotations {
        self.0.annotations.unwrap_or_default()
    }

    pub(super) fn tool_name(&self) -> &Name {
        &self.0.name
    }

    fn with(mut self, change: impl FnOnce(&mut Fields)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl From<&str> for ToolSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Serialize for ToolSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ToolSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(Fields::deserialize(deserializer)?)))
    }
}

fn any_object() -> Value {
    json!({ "type": "object" })
}
