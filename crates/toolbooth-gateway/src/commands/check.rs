//! `toolbooth check`: the faults of a file, or the limits of each tool.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use toolbooth::policy::{PolicyErrorKind, ToolPolicy};

use super::{Ended, block_on};
use crate::booth::{Booth, UpstreamState};
use crate::cli::{Exit, Failure, Source};
use crate::config::Config;

/// Find the faults of a file, or show the limits of each tool
///
/// Nothing is started. The variables of the environment that the file names must be set. For each
/// tool its layers are drawn, the outermost first. The tools of servers are known only when they
/// are connected: with --connect they are, otherwise their names are shown as the file has them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  toolbooth check                           check booth.toml
  toolbooth check --connect                 connect to its servers, and show all tools
  toolbooth check -- uvx mcp-server-time    show the limits of a server without a file

It exits with 2 if the file is wrong, and with 3 if a server cannot be connected.")]
pub(crate) struct Check {
    /// The file [default: booth.toml]
    #[arg(value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// Connect to the servers, and show their tools
    #[arg(long)]
    connect: bool,
    /// The command of an MCP server, in place of a file
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The time for connections to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

// === impl Check ===

impl Check {
    pub(crate) fn run(self, out: &mut dyn Write) -> Ended {
        let source = Source::new(self.file, self.command);
        let config = source.load()?;
        if let Some(file) = source.file() {
            writeln!(out, "{} is correct.", file.display())?;
        }
        listeners(&config, out)?;
        let policies = &config.policies;
        let is_empty = policies.groups.is_empty() && policies.tools.is_empty();
        if is_empty && policies.default == ToolPolicy::default() {
            writeln!(out, "limits: none, add [policies.default]")?;
        }
        if self.connect {
            return block_on(connected(config, out))?;
        }
        for (name, upstream) in &config.upstreams {
            writeln!(out, "server {name}: {}", upstream.transport.summary())?;
        }
        for (name, command) in &config.tools {
            writeln!(out, "command {name}: {}", command.program)?;
        }
        if !config.upstreams.is_empty() {
            writeln!(out, "tools of servers: shown with --connect")?;
        }
        for name in names(&config) {
            write!(out, "\n{}", config.policies.stack(&name))?;
        }
        Ok(Exit::Success)
    }
}

/// Shows where clients connect.
fn listeners(config: &Config, out: &mut dyn Write) -> std::io::Result<()> {
    let listen = &config.listen;
    if listen.stdio {
        writeln!(out, "listen: MCP over standard input and output")?;
    }
    if let Some(http) = listen.http {
        writeln!(out, "listen: MCP at http://{http}{}", listen.path)?;
        if listen.api {
            writeln!(out, "listen: HTTP API at http://{http}/tools")?;
        }
    }
    for (name, tenant) in &config.tenants {
        let tokens = tenant.tokens.len();
        let tokens = if tokens == 1 {
            "1 token".to_owned()
        } else {
            format!("{tokens} tokens")
        };
        writeln!(out, "tenant {name}: {tokens}")?;
    }
    match &config.admin {
        Some(admin) => writeln!(out, "admin: http://{}", admin.listen),
        None => Ok(()),
    }
}

/// Returns the names of the tools as far as they are known. One that ends with `*` stands for the
/// tools whose names begin so.
fn names(config: &Config) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = config.tools.keys().cloned().collect();
    let in_groups = config
        .policies
        .groups
        .values()
        .flat_map(|group| &group.tools);
    let named: Vec<_> = config.policies.tools.keys().chain(in_groups).collect();
    for upstream in config.upstreams.values() {
        let own = named
            .iter()
            .filter(|name| name.starts_with(&upstream.prefix));
        names.extend(own.map(|name| (*name).clone()));
        names.insert(format!("{}*", upstream.prefix));
    }
    names
}

async fn connected(config: Config, out: &mut dyn Write) -> Ended {
    let booth = Booth::open(config).await?;
    let status = booth.status();
    let mut exit = Exit::Success;
    for server in &status.upstreams {
        let (name, program) = (&server.name, &server.server);
        match server.state {
            UpstreamState::Connected => {
                writeln!(out, "server {name}: {program}: {} tools", server.tools)?;
            }
            UpstreamState::Connecting | UpstreamState::Down => {
                let details = server.details.as_deref().unwrap_or("not connected");
                writeln!(out, "server {name}: {program}: {details}")?;
                exit = Exit::Unavailable;
            }
        }
    }
    let toolbox = booth.toolbox();
    for name in toolbox.names() {
        if let Some(stack) = toolbox.stack(&name) {
            write!(out, "\n{stack}")?;
        }
    }
    let all_there = toolbox.check(&toolbox.policies());
    booth.close(CLOSE_LIMIT).await;
    match all_there {
        // A server that is away may have it.
        Err(error) if exit == Exit::Success && error.kind() == PolicyErrorKind::UnknownTool => {
            Err(Failure::new(Exit::Usage, error))
        }
        _ => Ok(exit),
    }
}
