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

use super::limits::Limits;
use super::output::{CommandOutput, CommandStderr};
use super::response;
use super::start::{Args, Spec, Variable};
use super::template::Template;
use crate::middleware::ConfigError;

/// A tool that runs a program. See the [module](super).
///
/// Clones share their settings until one of them is changed.
#[derive(Clone)]
pub struct CommandTool {
    name: Name,
    spec: Arc<Spec>,
}

/// The future of one call: one run of the program.
#[must_use = "dropping it ends the program"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>);

// === impl CommandTool ===

impl CommandTool {
    /// Makes the tool `name`, which runs `program`.
    ///
    /// By default the program has no arguments, no input and no environment, and runs in the
    /// working directory of this process.
    ///
    /// A `program` without a slash is looked up in the `PATH` of this process at each call. One
    /// with a slash is a path relative to the working directory of this process.
    #[must_use]
    pub fn new(name: impl Into<Name>, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            spec: Arc::new(Spec {
                program: program.into(),
                args: Vec::new(),
                option_values: true,
                stdin: None,
                current_dir: None,
                env: Vec::new(),
                output: CommandOutput::default(),
                output_cap: 1 << 20,
                stderr: CommandStderr::default(),
                ok_exit_codes: vec![0],
                kill_grace: Duration::from_secs(2),
                limits: Limits::default(),
            }),
        }
    }

    /// Adds an argument. `{name}` in it is replaced by the argument `name` of the call; `{{` and
    /// `}}` are braces.
    ///
    /// The result is always one argument. A value that begins with a dash may still be read as an
    /// option: pass `--` before it, if the program supports that.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that is neither a placeholder nor doubled.
    pub fn with_arg(self, template: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.with_args([template])
    }

    /// Adds several arguments, as [`with_arg`](Self::with_arg) does.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that is neither a placeholder nor doubled.
    pub fn with_args<T: AsRef<str>>(
        self,
        templates: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        self.with_some_args(templates, false)
    }

    /// Adds arguments that are left out together if the call has no value for one of their
    /// placeholders, or null.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::{CommandTool, ToolCall};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), toolbooth::BoxError> {
    /// let head = CommandTool::new("head", "head")
    ///     .with_optional_args(["-n", "{lines}"])?
    ///     .with_stdin("{text}")?;
    /// let short = ToolCall::new("head", json!({ "text": "a\nb\n", "lines": 1 }));
    /// assert_eq!(head.clone().oneshot(short).await?.collect().await?.text(), "a\n");
    /// let whole = ToolCall::new("head", json!({ "text": "a\nb\n" }));
    /// assert_eq!(head.oneshot(whole).await?.collect().await?.text(), "a\nb\n");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that is neither a placeholder nor doubled.
    pub fn with_optional_args<T: AsRef<str>>(
        self,
        templates: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        self.with_some_args(templates, true)
    }

    fn with_some_args<T: AsRef<str>>(
        mut self,
        templates: impl IntoIterator<Item = T>,
        optional: bool,
    ) -> Result<Self, ConfigError> {
        let templates = templates
            .into_iter()
            .map(|template| Template::parse(template.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        self.spec_mut().args.push(Args {
            templates,
            optional,
        });
        Ok(self)
    }

    /// Sets whether a value of the call may begin an argument with a dash. True by default.
    ///
    /// If false, such a call fails with `InvalidArguments`, because the program may read the value
    /// as an option. Arguments after a literal `--` may have any value: programs take no options
    /// there.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::{CommandTool, ErrorKind, ToolCall};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), toolbooth::BoxError> {
    /// let echo = CommandTool::new("echo", "printf").with_option_values(false);
    /// let open = echo.clone().with_args(["%s", "{text}"])?;
    /// let closed = echo.with_args(["%s", "--", "{text}"])?;
    /// let call = ToolCall::new("echo", json!({ "text": "-v" }));
    ///
    /// let error = open.oneshot(call.clone()).await.err().ok_or("an option")?;
    /// assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    /// assert_eq!(closed.oneshot(call).await?.collect().await?.text(), "---v");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_option_values(mut self, allowed: bool) -> Self {
        self.spec_mut().option_values = allowed;
        self
    }

    /// Returns the names of all placeholders, those of the input last. One that is used twice is
    /// returned twice.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        let args = self.spec.args.iter().flat_map(|group| &group.templates);
        args.chain(&self.spec.stdin).flat_map(Template::names)
    }

    /// Sets the standard input of the program, with placeholders as in an argument. By default it
    /// is empty.
    ///
    /// A program need not read its input to the end.
    ///
    /// # Errors
    /// [`ConfigError::MalformedTemplate`] for a brace that is neither a placeholder nor doubled.
    pub fn with_stdin(mut self, template: impl AsRef<str>) -> Result<Self, ConfigError> {
        let template = Template::parse(template.as_ref())?;
        self.spec_mut().stdin = Some(template);
        Ok(self)
    }

    /// Sets the working directory of the program. By default it is that of this process.
    #[must_use]
    pub fn with_current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spec_mut().current_dir = Some(folder.into());
        self
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = Variable::Set(value.into());
        self.spec_mut().env.push((name.into(), variable));
        self
    }

    /// Passes environment variables of this process to the program, with their values at its start.
    ///
    /// The program inherits no other variable.
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

    /// Sets the format of the standard output. By default it is [`CommandOutput::Text`].
    #[must_use]
    pub fn with_output(mut self, output: CommandOutput) -> Self {
        self.spec_mut().output = output;
        self
    }

    /// Sets what the response has of the standard error. By default it is
    /// [`CommandStderr::Separate`]: a content of its own.
    #[must_use]
    pub fn with_stderr(mut self, stderr: CommandStderr) -> Self {
        self.spec_mut().stderr = stderr;
        self
    }

    /// Sets the exit codes with which a response is not an error, by default only 0.
    ///
    /// Some programs use the exit code for a result: `grep` exits with 1 if nothing matches.
    ///
    /// ```
    /// use toolbooth::{CommandTool, ToolCall};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), toolbooth::BoxError> {
    /// let grep = CommandTool::new("grep", "grep")
    ///     .with_args(["-e", "{pattern}"])?
    ///     .with_stdin("{text}")?
    ///     .with_ok_exit_codes([0, 1]);
    /// let args = serde_json::json!({ "pattern": "b", "text": "a" });
    /// let response = grep.oneshot(ToolCall::new("grep", args)).await?.collect().await?;
    /// assert!(!response.is_error());
    /// assert_eq!(response.meta().ok_or("no metadata")?["exit_code"], 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_ok_exit_codes(mut self, codes: impl IntoIterator<Item = i32>) -> Self {
        self.spec_mut().ok_exit_codes = codes.into_iter().collect();
        self
    }

    /// Sets the maximum number of bytes to keep of each output, by default 1 MiB.
    ///
    /// Output beyond the cap is read and dropped, so that the program can run to its end. A text
    /// then has the first and the last bytes, with a line between them that states how many are
    /// missing. Bytes have the first ones, and that line as a text of its own. The metadata has
    /// `dropped_bytes` and `stderr_dropped_bytes`. Lines and a JSON value fail with
    /// [`CommandError::OutputTooLong`](super::CommandError::OutputTooLong).
    #[must_use]
    pub fn with_output_cap(mut self, bytes: usize) -> Self {
        self.spec_mut().output_cap = bytes;
        self
    }

    /// Sets the time between SIGTERM and SIGKILL for the process group, by default 2 s.
    ///
    /// The grace of a timeout layer, in which a program has received SIGTERM already, counts. A
    /// call that is over when that grace ends receives SIGKILL at the end of the longer of both.
    ///
    /// A cleanup hook waits for the end of the group. If the grace is longer than the limit of
    /// hooks (by default 5 s), that hook counts as failed, and the grace continues.
    ///
    /// The permit of a concurrency limit is released before, unless the limit is
    /// [held until all has ended](crate::ConcurrencyLimitLayer::with_hold_until_ended).
    #[must_use]
    pub fn with_kill_grace(mut self, grace: Duration) -> Self {
        self.spec_mut().kill_grace = grace;
        self
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn spec_mut(&mut self) -> &mut Spec {
        Arc::make_mut(&mut self.spec)
    }
}

/// Prints neither arguments nor environment: they may be secret.
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
