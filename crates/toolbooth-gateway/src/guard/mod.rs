//! Programs that end with this process, even if it is killed.
//!
//! A process that receives SIGKILL cannot end its children. They would find the end of their
//! standard input, which not every program heeds. So each program is started by
//! `toolbooth guard PARENT -- PROGRAM ..`, which inherits the standard streams, copies nothing, and
//! kills all that the program has started when the parent is gone, or the program has ended. It
//! costs one waiting process for each program.
//!
//! It is the reaper of its descendants: also a process with a session of its own, whose parent has
//! ended, is its child, and is killed. After SIGTERM a program has 1.5 s. Only if this process is
//! killed itself, such a process escapes.
//!
//! Without pidfds, which Linux has since 5.3, programs are started without it.

#[cfg(target_os = "linux")]
mod linux;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// How programs are started.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// This program. `None`: they are started directly.
    program: Option<PathBuf>,
}

/// The name of the subcommand.
pub const SUBCOMMAND: &str = "guard";

// === impl Guard ===

impl Guard {
    /// Starts programs directly.
    #[must_use]
    pub const fn none() -> Self {
        Self { program: None }
    }

    /// Starts programs by the subcommand `guard` of this executable, where the system permits it.
    ///
    /// Only the program `toolbooth` may use it: another executable has no such subcommand.
    #[must_use]
    pub fn of_this_program() -> Self {
        let program = std::env::current_exe().ok();
        Self {
            program: program.filter(|_| is_available()),
        }
    }

    /// Returns the command line that starts `program` with `args`.
    #[must_use]
    pub fn command_line(
        &self,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> (OsString, Vec<OsString>) {
        let program = program.into();
        let args = args.into_iter().map(Into::into);
        match &self.program {
            None => (program, args.collect()),
            Some(guard) => {
                let parent = std::process::id().to_string();
                let own = [SUBCOMMAND.into(), parent.into(), "--".into(), program];
                (guard.into(), own.into_iter().chain(args).collect())
            }
        }
    }
}

/// Runs the subcommand: starts `command`, and waits for its end or that of the process `parent`.
///
/// Returns the exit code of the command; 128 and the number of the signal that ended it; 127 if it
/// cannot be started.
#[must_use]
pub fn run(parent: u32, command: &[OsString]) -> ExitCode {
    #[cfg(target_os = "linux")]
    return linux::run(parent, command);
    #[cfg(not(target_os = "linux"))]
    return ExitCode::from(u8::from(parent == 0 || command.is_empty()) + NOT_STARTED - 1);
}

/// The exit code for a program that cannot be started, as of shells.
const NOT_STARTED: u8 = 127;

fn is_available() -> bool {
    #[cfg(target_os = "linux")]
    return linux::is_available();
    #[cfg(not(target_os = "linux"))]
    return false;
}
