//! `toolbooth check`: the faults of a file, or the limits of each tool.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use toolbooth::policy::{PolicyErrorKind, ToolStack};

use super::{Ended, block_on};
use crate::booth::{Booth, UpstreamState};
use crate::cli::{Exit, Failure, Source};
use crate::config::Config;

/// Find the faults of a file, or show the limits of each tool
///
/// Nothing is started. The variables of the environment that the file names must be set. For each
/// tool its layers are drawn, the outermost first; once for tools with equal layers. The tools of
/// servers are known only when they are connected: with --connect they are, otherwise their names
/// are shown as the file has them.
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
        let names = names(&config);
        draw(names.iter().map(|name| config.policies.stack(name)), out)?;
        Ok(Exit::Success)
    }
}

/// Shows where clients connect.
fn listeners(config: &Config, out: &mut dyn Write) -> io::Result<()> {
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

/// Draws each stack once, below all tools that have one like it.
fn draw(stacks: impl Iterator<Item = ToolStack>, out: &mut dyn Write) -> io::Result<()> {
    let mut drawn: Vec<(String, String)> = Vec::new();
    let mut known = HashMap::new();
    for stack in stacks {
        let text = stack.to_string();
        // The first line is the tool, its group and its priority.
        let (tool, layers) = text.split_once('\n').unwrap_or((&text, ""));
        let index = *known.entry(layers.to_owned()).or_insert(drawn.len());
        match drawn.get_mut(index) {
            Some((tools, _)) => {
                tools.push('\n');
                tools.push_str(tool);
            }
            None => drawn.push((tool.to_owned(), layers.to_owned())),
        }
    }
    for (tools, layers) in drawn {
        write!(out, "\n{tools}\n{layers}")?;
    }
    Ok(())
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
    let names = toolbox.names();
    draw(names.iter().filter_map(|name| toolbox.stack(name)), out)?;
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
