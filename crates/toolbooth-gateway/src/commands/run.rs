//! `toolbooth run`: serves tools until a signal or the client ends it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Ended, block_on, block_on_one_worker};
use crate::cli::{Exit, Failure, Source};
use crate::guard::Guard;
use crate::serve::{self, ServeError};

/// Serve tools to clients, within their limits
///
/// Without listeners in the file, and for a command, the client is the program that starts this
/// one: MCP over standard input and output. Otherwise MCP is served over streamable HTTP at /mcp,
/// and the HTTP API at /tools. Logs go to standard error. The tools of a server are passed on, its
/// prompts and resources are not.
///
/// SIGTERM, SIGINT and the end of the standard input end it: new calls are rejected, and those that
/// run have the times of [shutdown] to end. A second signal ends it at once. A changed file applies
/// while calls run, and so does SIGHUP; a wrong one is reported and changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  toolbooth run                                     serve what booth.toml describes
  toolbooth run tools/booth.toml                    another file
  toolbooth run -- npx -y some-mcp-server           one server within sane limits, no file
  toolbooth run --http 127.0.0.1:8808 -- npx -y some-mcp-server   the same, over HTTP
  claude mcp add time -- toolbooth run -- uvx mcp-server-time     in a client

It exits with 0 if all calls have ended, with 2 if the file is wrong, with 3 if an address is in
use, and with 4 if calls were abandoned.")]
pub(crate) struct Run {
    /// The file [default: booth.toml]
    #[arg(value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// Serve a command over HTTP at this address, such as 127.0.0.1:8808, in place of standard
    /// input and output
    #[arg(long, value_name = "ADDRESS", requires = "command")]
    http: Option<SocketAddr>,
    /// The command of an MCP server, in place of a file
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

// === impl Run ===

impl Run {
    pub(crate) fn run(self) -> Ended {
        let source = Source::new(self.file, self.command);
        let mut config = source.load()?;
        if let Some(http) = self.http {
            config = config.with_http(http)?;
        }
        let path = source.file().map(Path::to_owned);
        let _logs =
            serve::init_logs(&config.log).map_err(|error| Failure::new(Exit::Usage, error))?;
        let has_one_client = config.listen.http.is_none();
        let serving = serve::run(config, path, Guard::of_this_program());
        let ended = match has_one_client {
            true => block_on_one_worker(serving)??,
            false => block_on(serving)??,
        };
        Ok(match ended {
            serve::Ended::Clean => Exit::Success,
            serve::Ended::Abandoned => Exit::Abandoned,
        })
    }
}

// === impl Failure ===

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Booth(error) => error.into(),
            error => Self::new(Exit::Unavailable, error),
        }
    }
}
