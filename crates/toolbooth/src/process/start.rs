//! Starts a program for one call.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::process::{Child, Command};
use toolbooth_core::{CallContext, ToolError};

use super::group::Group;
use super::pipes::{Input, Pipes};
use super::running::Running;
use super::template::Template;
use super::{CommandError, CommandOutput, program};

/// The settings of a tool: the program, and how to start it.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) program: OsString,
    pub(super) args: Vec<Template>,
    pub(super) stdin: Option<Template>,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) env: Vec<(OsString, Variable)>,
    pub(super) output: CommandOutput,
    pub(super) output_cap: usize,
    pub(super) kill_grace: Duration,
}

/// A variable of the program's environment.
#[derive(Clone)]
pub(super) enum Variable {
    Set(OsString),
    Inherited,
}

// === impl Spec ===

impl Spec {
    /// Starts the program. Dropping the result ends it, and a cleanup hook waits for its end.
    pub(super) fn start(
        &self,
        context: &CallContext,
        args: &Map<String, Value>,
    ) -> Result<Running, ToolError> {
        let argv: Result<Vec<_>, _> = self
            .args
            .iter()
            .map(|arg| arg.fill_argument(args))
            .collect();
        let argv = argv?;
        let input = self.stdin.as_ref().map(|input| input.fill(args));
        let input = input.transpose()?.map(String::into_bytes);

        let started = self.spawn(&argv, input.is_some());
        let not_started = |source| CommandError::NotStarted {
            program: self.program_name(),
            source,
        };
        let mut child = started.map_err(|source| ToolError::failed(not_started(source)))?;
        let pipes = Pipes {
            stdin: child.stdin.take().zip(input).map(|(pipe, bytes)| Input {
                pipe,
                bytes,
                written: 0,
            }),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        let (group, ended) = Group::led_by(child, context.keep_permits()).ok_or_else(|| {
            ToolError::failed(not_started(io::Error::other("it has no process id")))
        })?;
        let running = Running::new(group, pipes, context.clone(), self.kill_grace);
        // Only dropping `running` ends the group, so the hook waits for that.
        context.cleanup_waits_for(async move {
            // The sender is dropped without a value, so this is always an error.
            let _ = ended.await;
        });
        Ok(running)
    }

    /// Returns the program for messages, with invalid UTF-8 replaced.
    pub(super) fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn spawn(&self, argv: &[String], has_input: bool) -> io::Result<Child> {
        let mut command = Command::new(program::find(&self.program)?);
        command
            .args(argv)
            .env_clear()
            .stdin(match has_input {
                true => Stdio::piped(),
                false => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // Kills the program if it is dropped before it has a group.
            .kill_on_drop(true);
        for (name, variable) in &self.env {
            match variable {
                Variable::Set(value) => command.env(name, value),
                Variable::Inherited => match std::env::var_os(name) {
                    Some(value) => command.env(name, value),
                    None => &mut command,
                },
            };
        }
        if let Some(folder) = &self.current_dir {
            // The error of the system is the same as for a missing program.
            if !folder.is_dir() {
                let text = format!("there is no folder `{}` to start it in", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            command.current_dir(folder);
        }
        command.spawn()
    }
}
