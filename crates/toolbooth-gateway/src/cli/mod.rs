//! The command line of the program `toolbooth`.

mod exit;
mod source;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

pub use exit::Exit;
pub(crate) use exit::Failure;
pub(crate) use source::DEFAULT_FILE;
pub use source::Source;

use crate::commands;

/// Limits around any MCP server or command, from one file.
///
/// Clients of the Model Context Protocol call tools through toolbooth, which adds timeouts, queues
/// with limits, circuit breakers, retries and partial results, and offers commands as tools. The
/// tools, their limits and the listeners are in one file, booth.toml.
#[derive(Debug, Parser)]
#[command(
    name = "toolbooth",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Start with `toolbooth run -- COMMAND`, or with `toolbooth init`.",
    after_long_help = AFTER_HELP
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Run),
    Check(commands::check::Check),
    Init(commands::init::Init),
    Call(commands::call::Call),
    Token(commands::token::Token),
    #[command(hide = true, name = crate::guard::SUBCOMMAND)]
    Guard(commands::guard::Guard),
}

const AFTER_HELP: &str = "\
Five minutes:
  toolbooth run -- uvx mcp-server-time          one server, without a file, over standard input
  toolbooth call get_current_time '{\"timezone\": \"UTC\"}' -- uvx mcp-server-time
  toolbooth init                                write a commented booth.toml
  toolbooth check                               its faults, and the limits of each tool
  toolbooth run                                 serve what booth.toml describes

Exit codes:
  0  success; a server: all calls have ended
  1  the tool failed, or its call was rejected
  2  the command line or the file is wrong: see the message
  3  an address, a file or a server could not be used
  4  calls were abandoned when the program ended";

// === impl Cli ===

impl Cli {
    /// Runs the program: reads the arguments of this process, and does what they say.
    ///
    /// Results go to standard output, everything else to standard error.
    #[must_use]
    pub fn main() -> ExitCode {
        match Self::try_parse() {
            Ok(cli) => cli.run(),
            Err(error) => {
                let error = with_separator(error);
                let exit = match error.use_stderr() {
                    true => Exit::Usage,
                    false => Exit::Success,
                };
                // A reader that is gone has seen enough.
                let _ = error.print();
                exit.into()
            }
        }
    }

    fn run(self) -> ExitCode {
        // Not locked: a server writes to it from another thread.
        let out: &mut dyn Write = &mut io::stdout();
        let ended = match self.command {
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(out),
            Command::Init(init) => init.run(out),
            Command::Call(call) => call.run(out),
            Command::Token(token) => token.run(out),
            Command::Guard(guard) => return guard.run(),
        };
        let exit = match ended {
            Ok(exit) => exit,
            Err(failure) => failure.report(),
        };
        exit.into()
    }
}

/// Replaces the tip for an unknown argument: it is part of a command that is written without `--`.
fn with_separator(mut error: clap::Error) -> clap::Error {
    let takes_command = std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "run" || name == "check" || name == "call");
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    if is_unknown && takes_command && error.get(ContextKind::SuggestedArg).is_none() {
        let tip =
            StyledStr::from("the command of a server follows `--`, as in `-- npx -y a-server`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
