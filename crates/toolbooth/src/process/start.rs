//! Starts a program for one call.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use process_wrap::std::{ProcessSession, StdCommandWrap, StdCommandWrapper};
use rustix::io::Errno;
use serde_json::{Map, Value};
use tokio::process::{Child, ChildStdout, Command};
use tokio::runtime::Handle;
use toolbooth_core::{CallContext, ToolError};

use super::group::Group;
use super::kept::Kept;
use super::limits::Limits;
use super::output::STDERR_TAIL;
use super::pipes::{Input, Output, Pipes};
use super::running::Running;
use super::supervisor::supervise;
use super::template::Template;
use super::{CommandError, CommandOutput, CommandStderr};

/// The settings of a tool: the program, and how to start it.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) program: OsString,
    pub(super) args: Vec<Args>,
    /// Whether a value may begin an argument with a dash.
    pub(super) option_values: bool,
    pub(super) stdin: Option<Template>,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) env: Vec<(OsString, Variable)>,
    pub(super) output: CommandOutput,
    pub(super) output_cap: usize,
    pub(super) stderr: CommandStderr,
    pub(super) ok_exit_codes: Vec<i32>,
    pub(super) kill_grace: Duration,
    pub(super) limits: Limits,
}

/// Arguments of the program.
#[derive(Clone)]
pub(super) struct Args {
    pub(super) templates: Vec<Template>,
    /// Whether they are left out if the call has no value for a placeholder.
    pub(super) optional: bool,
}

/// A variable of the program's environment.
#[derive(Clone)]
pub(super) enum Variable {
    Set(OsString),
    Inherited,
}

/// The variables of this process that a program may have without a risk: those of the official
/// SDKs of MCP for servers, and those for its locale and its temporary files. Others may be secret.
///
/// [`CommandTool::with_inherited_env`](crate::CommandTool::with_inherited_env) passes them.
pub const INHERITED_VARIABLES: [&str; 12] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
];
/// The variables that set the encoding of characters.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];
/// A value of the variable `LANG` whose encoding is UTF-8, and which the system has.
#[cfg(not(target_vendor = "apple"))]
pub const UTF_8: &str = "C.UTF-8";
/// A value of the variable `LANG` whose encoding is UTF-8, and which the system has.
#[cfg(target_vendor = "apple")]
pub const UTF_8: &str = "en_US.UTF-8";

/// The size of the pipe of a stream of lines.
///
/// Small, so that a program is at most a few lines ahead of a slow consumer.
#[cfg(target_os = "linux")]
const LINES_PIPE: usize = 4_096;

// === impl Spec ===

impl Spec {
    /// Starts the program. Dropping the result ends it, and a cleanup hook waits for its end.
    pub(super) fn start(
        &self,
        context: &CallContext,
        args: &Map<String, Value>,
    ) -> Result<Running, ToolError> {
        let templates: Vec<&Template> = self.templates(args).collect();
        let argv = templates.iter().map(|arg| arg.fill_argument(args));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let input = self.stdin.as_ref().map(|input| input.fill(args));
        let input = input.transpose()?.map(String::into_bytes);
        check_lengths(&argv, &templates, args)?;
        if !self.option_values {
            check_options(&argv, &templates)?;
        }

        let started = self.spawn(argv, input.is_some());
        let (mut child, stdout) = started.map_err(|source| self.not_started(source, args))?;
        let stdin = child.stdin.take().zip(input);
        let pipes = Pipes {
            stdin: stdin.map(|(pipe, bytes)| Input {
                pipe,
                bytes,
                written: 0,
            }),
            stdout: Output::new(Some(stdout)),
            stderr: Output::new(child.stderr.take()),
        };
        let group = Group::led_by(child)
            .ok_or_else(|| self.not_started(io::Error::other("it has no process id"), args))?;
        let (program, ended) = supervise(group, self.kill_grace, context.keep_permits());
        // Only dropping the result ends the group, so the hook waits for that.
        context.cleanup_waits_for(async move {
            // The sender is dropped without a value, so this is always an error.
            let _ = ended.await;
        });
        Ok(Running::new(program, pipes, context.clone()))
    }

    /// Returns the arguments of this call.
    fn templates<'a>(&'a self, args: &'a Map<String, Value>) -> impl Iterator<Item = &'a Template> {
        let is_given = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        let given = self.args.iter().filter(move |group| {
            let mut names = group.templates.iter().flat_map(Template::names);
            !group.optional || names.all(is_given)
        });
        given.flat_map(|group| &group.templates)
    }

    /// Returns the program for messages, with invalid UTF-8 replaced.
    pub(super) fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Returns whether the exit is a success.
    pub(super) fn is_ok(&self, status: ExitStatus) -> bool {
        let code = status.code();
        code.is_some_and(|code| self.ok_exit_codes.contains(&code))
    }

    /// Returns the buffer for the standard error.
    pub(super) const fn stderr(&self) -> Kept {
        match self.stderr {
            CommandStderr::Separate | CommandStderr::Merged => Kept::ends(self.output_cap),
            CommandStderr::Tail => Kept::last(STDERR_TAIL),
        }
    }

    fn spawn(&self, argv: Vec<String>, has_input: bool) -> io::Result<(Child, ChildStdout)> {
        let mut line = self.limits.command_line(&self.program)?.into_iter();
        let mut command = Command::new(line.next().unwrap_or_default());
        let (stdout, written) = pipe()?;
        #[cfg(target_os = "linux")]
        if self.output == CommandOutput::Lines {
            // The default size is correct as well.
            let _ = rustix::pipe::fcntl_setpipe_size(&stdout, LINES_PIPE);
        }
        let stderr = match self.stderr {
            CommandStderr::Merged => written.try_clone()?.into(),
            CommandStderr::Separate | CommandStderr::Tail => Stdio::piped(),
        };
        command
            .args(line)
            .args(argv)
            .stdin(match has_input {
                true => Stdio::piped(),
                false => Stdio::null(),
            })
            .stdout(written)
            .stderr(stderr)
            // Kills the program if it is dropped before it has a group.
            .kill_on_drop(true);
        self.set_environment(&mut command);
        if let Some(folder) = &self.current_dir {
            // The error of the system is the same as for a missing program.
            if !folder.is_dir() {
                let text = format!("there is no folder `{}` to start it in", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            command.current_dir(folder);
        }
        // A session of its own, which has no controlling terminal.
        ProcessSession.pre_spawn(
            command.as_std_mut(),
            &StdCommandWrap::with_new(&self.program, |_| ()),
        )?;
        let runtime = Handle::current();
        let child = self.limits.on_thread(move || {
            let _entered = runtime.enter();
            command.spawn()
        })?;
        Ok((child, ChildStdout::from_std(stdout.into())?))
    }

    fn set_environment(&self, command: &mut Command) {
        command.env_clear();
        let mut has_locale = false;
        for (name, variable) in &self.env {
            let value = match variable {
                Variable::Set(value) => Some(value.clone()),
                Variable::Inherited => std::env::var_os(name),
            };
            if let Some(value) = value {
                has_locale |= LOCALE.iter().any(|locale| name == locale);
                command.env(name, value);
            }
        }
        if !has_locale {
            command.env(LOCALE[2], UTF_8);
        }
    }

    // --- errors

    fn not_started(&self, source: io::Error, args: &Map<String, Value>) -> ToolError {
        let errno = Errno::from_io_error(&source);
        if errno == Some(Errno::TOOBIG) {
            let longest = self.templates(args).filter_map(|arg| arg.longest(args));
            if let Some((name, _)) = longest.max_by_key(|(_, length)| *length) {
                let message = "too long: all arguments and variables of a program together exceed \
                               the maximum of the system; long values can be its input \
                               (`with_stdin`)";
                return ToolError::invalid_arguments(name, message);
            }
        }
        let may_help = errno.is_some_and(|errno| {
            [
                Errno::AGAIN,
                Errno::MFILE,
                Errno::NFILE,
                Errno::NOMEM,
                Errno::TXTBSY,
            ]
            .contains(&errno)
        });
        ToolError::failed(CommandError::NotStarted {
            program: self.program_name(),
            source,
        })
        .with_retryable(may_help)
    }
}

/// Returns the maximum length of an argument in bytes, if the system has one.
fn max_argument() -> Option<usize> {
    // MAX_ARG_STRLEN of Linux, which includes the NUL at the end.
    cfg!(target_os = "linux").then(|| 32 * rustix::param::page_size() - 1)
}

/// Makes a pipe that other programs do not inherit.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(not(target_vendor = "apple"))]
    {
        Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
    }
    #[cfg(target_vendor = "apple")]
    {
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok((read, write))
    }
}

/// Rejects arguments that the system would reject.
fn check_lengths(
    argv: &[String],
    templates: &[&Template],
    args: &Map<String, Value>,
) -> Result<(), ToolError> {
    let Some(max) = max_argument() else {
        return Ok(());
    };
    for (arg, template) in argv.iter().zip(templates) {
        if arg.len() > max {
            if let Some((name, _)) = template.longest(args) {
                let message = format!(
                    "too long: the program would get an argument of {} bytes, and the maximum \
                     is {max}; longer values can be its input (`with_stdin`)",
                    arg.len()
                );
                return Err(ToolError::invalid_arguments(name, message));
            }
        }
    }
    Ok(())
}

/// Rejects values that the program may read as options.
fn check_options(argv: &[String], templates: &[&Template]) -> Result<(), ToolError> {
    let before_end = templates
        .iter()
        .take_while(|template| !template.is_literal("--"));
    for (arg, template) in argv.iter().zip(before_end) {
        if let Some(name) = template.first_name().filter(|_| arg.starts_with('-')) {
            let message = "it begins with `-`, so that the program may read it as an option";
            return Err(ToolError::invalid_arguments(name, message));
        }
    }
    Ok(())
}
