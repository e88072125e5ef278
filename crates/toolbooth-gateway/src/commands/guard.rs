//! `toolbooth guard`: how `toolbooth run` starts the programs of servers.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::guard;

/// Run a program that is killed when the process that started this one is gone
#[derive(Debug, Args)]
pub(crate) struct Guard {
    /// The number of the process that starts it
    parent: u32,
    /// The program, and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

// === impl Guard ===

impl Guard {
    pub(crate) fn run(&self) -> ExitCode {
        guard::run(self.parent, &self.command)
    }
}
