//! Commands as tools.

use serde_json::Value;
use toolbooth::process::INHERITED_VARIABLES;
use toolbooth::toolbox::ResolvedTool;
use toolbooth::{BoxError, CommandOutput, CommandTool, ConfigError, ToolCall, ToolSpec, Toolbox};
use tower::ServiceExt;

use super::{Argument, CommandConfig, Output};

impl CommandConfig {
    /// Returns the description of the tool of this name.
    #[must_use]
    pub fn spec(&self, name: &str) -> ToolSpec {
        let mut spec = ToolSpec::new(name)
            .with_input_schema(self.input_schema.clone())
            .with_annotations(self.annotations);
        if let Some(title) = &self.title {
            spec = spec.with_title(title);
        }
        if let Some(description) = &self.description {
            spec = spec.with_description(description);
        }
        spec
    }

    /// Returns the tool, which checks its arguments by the schema.
    ///
    /// # Errors
    /// If the schema is not a JSON Schema, or a template or the working directory cannot be used.
    pub fn tool(&self, name: &str) -> Result<ResolvedTool, BoxError> {
        let defaults = self.defaults();
        let with_defaults = move |call: ToolCall| {
            call.map_args(|mut args| {
                if let Value::Object(args) = &mut args {
                    for (name, value) in &defaults {
                        args.entry(name).or_insert_with(|| value.clone());
                    }
                }
                args
            })
        };
        let command = self.command(name)?.map_request(with_defaults);
        let toolbox = Toolbox::builder()
            .tool(self.spec(name), command)
            .with_validated_arguments()
            .build()?;
        Ok(toolbox.get(name).ok_or("the tool is in its toolbox")?)
    }

    fn command(&self, name: &str) -> Result<CommandTool, ConfigError> {
        let mut command = CommandTool::new(name, &self.program)
            .with_option_values(false)
            .with_inherited_env(INHERITED_VARIABLES)
            .with_inherited_env(&self.inherit_env)
            .with_output(match self.output {
                Output::Text => CommandOutput::Text,
                Output::Lines => CommandOutput::Lines,
                Output::Json => CommandOutput::Json,
            })
            .with_output_cap(self.max_output)
            .with_ok_exit_codes(self.ok_exit_codes.iter().copied());
        for argument in &self.args {
            command = match argument {
                Argument::Required(text) => command.with_arg(text.expose())?,
                Argument::Optional(texts) => {
                    command.with_optional_args(texts.iter().map(|text| text.expose()))?
                }
            };
        }
        if let Some(stdin) = &self.stdin {
            command = command.with_stdin(stdin.expose())?;
        }
        if let Some(folder) = &self.current_dir {
            command = command.with_current_dir(folder);
        }
        for (name, value) in &self.env {
            command = command.with_env(name, value.expose());
        }
        // Without `setpriv` a program outlives this process if it is killed, as on other systems.
        Ok(command
            .clone()
            .with_kill_on_host_exit(true)
            .unwrap_or(command))
    }
}
