//! The command line of the program `toolbooth`.

mod exit;
mod source;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

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

/// What is missing if nothing follows `--`.
const NO_COMMAND: &str = "the command of a server follows `--`, as in \
    `toolbooth run -- npx -y a-server`";

const AFTER_HELP: &str = "\
Five minutes:
  toolbooth run -- uvx mcp-server-time          one server, without a file, over standard input
  toolbooth run --http 127.0.0.1:8808 -- uvx mcp-server-time      the same, over HTTP
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
        let parsed = Self::try_parse().and_then(|cli| match has_no_command() {
            true => Err(Self::command().error(ErrorKind::MissingRequiredArgument, NO_COMMAND)),
            false => Ok(cli),
        });
        match parsed {
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
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    if is_unknown && takes_command() && error.get(ContextKind::SuggestedArg).is_none() {
        let tip =
            StyledStr::from("the command of a server follows `--`, as in `-- npx -y a-server`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Returns whether the arguments end with the separator, after which a command is missing.
fn has_no_command() -> bool {
    let mut args = std::env::args_os();
    let separator = args.position(|arg| arg == "--");
    separator.is_some() && args.next().is_none() && takes_command()
}

fn takes_command() -> bool {
    let subcommand = std::env::args_os().nth(1);
    subcommand.is_some_and(|name| name == "run" || name == "check" || name == "call")
}
