use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{Name, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::output::CommandOutput;
use super::response;
use super::start::{Spec, Variable};
use super::template::Template;
use crate::middleware::ConfigError;

/// Any program as a tool. See the [module](super).
///
/// A clone is the same tool, and shares what it was told.
#[derive(Clone)]
pub struct CommandTool {
    name: Name,
    spec: Arc<Spec>,
}

/// A program's work for one call.
#[must_use = "dropping it ends the program"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>);

// === impl CommandTool ===

impl CommandTool {
    /// The tool `name` runs `program`: without arguments and input, in our working directory, with an empty environment.
    ///
    /// A program without a slash is looked up in our own `PATH` at each call; one with a slash is a path from our working directory.
    #[must_use]
    pub fn new(name: impl Into<Name>, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            spec: Arc::new(Spec {
                program: program.into(),
                args: Vec::new(),
                stdin: None,
                current_dir: None,
                env: Vec::new(),
                output: CommandOutput::default(),
                output_cap: 1 << 20,
                kill_grace: Duration::from_secs(2),
            }),
        }
    }

    /// Adds an argument, in which `{name}` stands for the argument `name` of the call; `{{` and `}}` are braces.
    ///
    /// It is one argument whatever is filled in. One that begins with a dash may still be an option to the program: put
    /// `--` before it, where the program knows that.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that means nothing.
    pub fn with_arg(self, template: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.with_args([template])
    }

    /// Adds arguments, each as [`with_arg`](Self::with_arg) does.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that means nothing.
    pub fn with_args<T: AsRef<str>>(
        mut self,
        templates: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        let args = templates
            .into_iter()
            .map(|template| Template::parse(template.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        self.spec_mut().args.extend(args);
        Ok(self)
    }

    /// What the program reads on its standard input, with placeholders as in an argument. Without it there is nothing to read.
    ///
    /// A program that does not read it to its end is none the worse for that.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that means nothing.
    pub fn with_stdin(mut self, template: impl AsRef<str>) -> Result<Self, ConfigError> {
        let template = Template::parse(template.as_ref())?;
        self.spec_mut().stdin = Some(template);
        Ok(self)
    }

    /// The program's working directory, instead of ours.
    #[must_use]
    pub fn with_current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spec_mut().current_dir = Some(folder.into());
        self
    }

    /// Sets a variable of the program's environment.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = Variable::Set(value.into());
        self.spec_mut().env.push((name.into(), variable));
        self
    }

    /// Lets the program see these variables of our own environment, as they are when it starts. It sees no other.
    #[must_use]
    pub fn with_inherited_env<N: Into<OsString>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let inherited = names
            .into_iter()
            .map(|name| (name.into(), Variable::Inherited));
        self.spec_mut().env.extend(inherited);
        self
    }

    /// What the program's standard output is to be: [`CommandOutput::Text`] where nothing is said.
    #[must_use]
    pub fn with_output(mut self, output: CommandOutput) -> Self {
        self.spec_mut().output = output;
        self
    }

    /// How many bytes of the output are kept: 1 MiB where nothing is said.
    ///
    /// What comes after them is read and dropped, so that the program does its work to the end. Of a text or of bytes the answer
    /// is what is kept, and its meta says `dropped_bytes`. Lines and a JSON value end as [`CommandError::OutputTooLong`](super::CommandError::OutputTooLong).
    #[must_use]
    pub fn with_output_cap(mut self, bytes: usize) -> Self {
        self.spec_mut().output_cap = bytes;
        self
    }

    /// How long the program, and what it has started, may take to end after SIGTERM; then they are killed. 2 s where nothing is said.
    ///
    /// A cleanup hook waits for it: with more than the hooks' limit (5 s, unless the cleanup layer says otherwise) that hook
    /// counts as failed, while the grace goes on.
    #[must_use]
    pub fn with_kill_grace(mut self, grace: Duration) -> Self {
        self.spec_mut().kill_grace = grace;
        self
    }

    /// The name that it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn spec_mut(&mut self) -> &mut Spec {
        Arc::make_mut(&mut self.spec)
    }
}

/// Neither arguments nor environment are shown: they may be secret.
impl fmt::Debug for CommandTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandTool")
            .field("name", &self.name)
            .field("program", &self.spec.program)
            .finish_non_exhaustive()
    }
}

impl Service<ToolCall> for CommandTool {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> ResponseFuture {
        ResponseFuture(Box::pin(response::run(Arc::clone(&self.spec), call)))
    }
}

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = Result<ToolOutput, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
