//! `toolbooth call`: one call, with its progress.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;
use toolbooth::{
    Collected, Content, ErrorKind, TimeoutLayer, ToolCall, ToolError, Toolbox, Update, UpdateKind,
    Updates,
};
use tower::{Layer, ServiceExt};

use super::{Ended, block_on};
use crate::booth::{Booth, UpstreamState};
use crate::cli::{Exit, Failure, Source};
use crate::config::Config;

/// Call a tool once, with the limits that it has
///
/// What the tool reports while it runs, its progress and its output, is shown on standard error
/// after `…`. The result is printed on standard output, or the partial result if the call fails. On
/// a terminal, output is printed once, when it comes. Only the server that the tool belongs to is
/// started.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  toolbooth call disk_usage '{\"path\": \".\"}'
  toolbooth call search '{\"query\": \"tower\"}' --config tools/booth.toml --timeout 10s
  toolbooth call get_current_time '{\"timezone\": \"UTC\"}' -- uvx mcp-server-time
  echo '{\"path\": \".\"}' | toolbooth call disk_usage - --json

It exits with 1 if the tool failed or the call was rejected, and with 3 if its server is away.")]
pub(crate) struct Call {
    /// The name of the tool
    #[arg(value_name = "TOOL")]
    tool: String,
    /// Its arguments, an object of JSON; `-` reads them from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    arguments: String,
    /// The file [default: booth.toml]
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    config: Option<PathBuf>,
    /// A limit on the call, such as 10s; a shorter one of the file applies as well
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Print the whole result, or the error, as JSON
    #[arg(long)]
    json: bool,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// The command of an MCP server, in place of a file
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What to do if there is no such tool.
const UNKNOWN_TOOL: &str = "`toolbooth check --connect` shows all tools";
/// The longest arguments on standard input, in bytes.
const MAX_ARGUMENTS: u64 = 4 << 20;
/// The longest text that is compared with the result, in bytes.
const MAX_SHOWN: usize = 4 << 20;
/// The time for connections to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

// === impl Call ===

impl Call {
    pub(crate) fn run(self, out: &mut dyn Write) -> Ended {
        let arguments = arguments(&self.arguments)?;
        let source = Source::new(self.config, self.command);
        let mut config = source.load()?;
        keep_server_of(&self.tool, &mut config);
        let call = ToolCall::new(self.tool.as_str(), arguments);
        let (shows, timeout) = (!self.quiet, self.timeout);
        let mut out = Printer {
            out,
            json: self.json,
            has_printed: false,
            shown: String::new(),
        };
        let response = block_on(async {
            let booth = Booth::open(config).await?;
            let response = tokio::select! {
                response = run(&booth, call, timeout, shows, &mut out) => response,
                _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::ToolFailed, "interrupted")),
            };
            booth.close(CLOSE_LIMIT).await;
            response
        })??;
        match response {
            Ok(response) => out.response(&response),
            Err(error) => out.error(error),
        }
    }
}

/// The response of a call. Items of a streaming response that are printed already are not in it.
type Response = Result<Collected, ToolError>;

async fn run(
    booth: &Booth,
    call: ToolCall,
    timeout: Option<Duration>,
    shows: bool,
    out: &mut Printer<'_>,
) -> Result<Response, Failure> {
    let toolbox = booth.toolbox();
    if !toolbox.contains(call.name()) {
        away(booth)?;
    }
    let updates = call.updates();
    // Where both streams are one terminal, contents are shown as the result that they are.
    let is_result = !out.json && io::stdout().is_terminal() && io::stderr().is_terminal();
    let show = async {
        match shows {
            true => show(updates, is_result).await,
            false => String::new(),
        }
    };
    let (response, shown) = tokio::join!(respond(toolbox, call, timeout, out), show);
    out.shown = shown;
    response
}

/// Fails if a server is away, so that its tools are not known.
fn away(booth: &Booth) -> Result<(), Failure> {
    let status = booth.status();
    let mut servers = status.upstreams.into_iter();
    match servers.find(|server| server.state != UpstreamState::Connected) {
        Some(server) => {
            let message = server
                .details
                .unwrap_or_else(|| format!("the server `{}` is not connected", server.name));
            Err(Failure::new(Exit::Unavailable, message))
        }
        None => Ok(()),
    }
}

async fn respond(
    toolbox: Toolbox,
    call: ToolCall,
    timeout: Option<Duration>,
    out: &mut Printer<'_>,
) -> Result<Response, Failure> {
    // A layer of its own: a timeout of the call replaces that of a policy, and needs one.
    let output = match timeout {
        Some(limit) => {
            let layer = TimeoutLayer::new(limit).with_name("--timeout");
            layer.layer(toolbox).oneshot(call).await
        }
        None => toolbox.oneshot(call).await,
    };
    let output = match output {
        Ok(output) => output,
        Err(error) => return Ok(Err(error)),
    };
    if out.json || !output.is_stream() {
        return Ok(output.collect().await);
    }
    let rest = output.to_collected(Vec::new());
    let mut items = output.into_stream();
    while let Some(item) = items.next().await {
        match item {
            Ok(item) => out.content(&item)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(rest))
}

/// Shows what a call publishes, until it is over. Returns the contents that were shown as the
/// result, as far as they are not longer than [`MAX_SHOWN`].
async fn show(mut updates: Updates, is_result: bool) -> String {
    let mut shown = String::new();
    while let Some(Update { attempt, kind, .. }) = updates.recv().await {
        let line = match kind {
            UpdateKind::Item(item) if is_result => {
                let text = item.to_text();
                let text = text.trim_end_matches('\n');
                // What is not written is printed as the result, which reports why.
                let written = writeln!(io::stdout(), "{}", printable(text));
                if written.is_ok() && shown.len().saturating_add(text.len()) < MAX_SHOWN {
                    shown.push_str(text);
                    shown.push('\n');
                }
                continue;
            }
            UpdateKind::Item(item) => item.to_text().into_owned(),
            UpdateKind::Snapshot(snapshot) => format!("so far: {}", snapshot.to_text()),
            UpdateKind::Progress(progress) => {
                let done = match progress.total() {
                    Some(total) => format!("progress {}/{total}", progress.done()),
                    None => format!("progress {}", progress.done()),
                };
                match progress.message() {
                    Some(message) => format!("{done}: {message}"),
                    None => done,
                }
            }
            UpdateKind::Lagged(missed) => format!("({missed} updates missed)"),
            _ => continue,
        };
        let attempt = match attempt {
            1 => String::new(),
            attempt => format!("attempt {attempt}: "),
        };
        eprintln!("… {attempt}{}", printable(line.trim_end_matches('\n')));
    }
    shown
}

/// Prints the result of a call.
struct Printer<'a> {
    out: &'a mut dyn Write,
    json: bool,
    has_printed: bool,
    /// The contents that were shown on the terminal while the call ran.
    shown: String,
}

// === impl Printer ===

impl Printer<'_> {
    fn response(&mut self, response: &Collected) -> Ended {
        if self.json {
            serde_json::to_writer_pretty(&mut *self.out, response).map_err(io::Error::from)?;
            writeln!(self.out)?;
        } else {
            let text = response.text();
            if !self.is_shown(&text) {
                self.text(&text)?;
            }
        }
        Ok(match response.is_error() {
            true => Exit::ToolFailed,
            false => Exit::Success,
        })
    }

    fn error(&mut self, error: ToolError) -> Ended {
        if self.json {
            serde_json::to_writer_pretty(&mut *self.out, &error.report())
                .map_err(io::Error::from)?;
            writeln!(self.out)?;
        } else if let Some(partial) = error.partial().filter(|_| !self.has_printed) {
            let contents = partial.contents().iter().map(Content::to_text);
            let lines: Vec<_> = contents
                .map(|text| text.trim_end_matches('\n').to_owned())
                .collect();
            if !self.is_shown(&lines.join("\n")) {
                for content in partial.contents() {
                    self.content(content)?;
                }
            }
        }
        let is_unknown = error.kind() == ErrorKind::UnknownTool;
        let failure = Failure::new(Exit::ToolFailed, error);
        Err(match is_unknown {
            true => failure.with_tip(UNKNOWN_TOOL),
            false => failure,
        })
    }

    /// Returns whether a text is what was shown, line by line.
    fn is_shown(&self, text: &str) -> bool {
        !text.is_empty() && self.shown.lines().eq(text.lines())
    }

    fn content(&mut self, content: &Content) -> io::Result<()> {
        self.has_printed = true;
        self.text(&content.to_text())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.out.write_all(printable(text).as_bytes())?;
        if !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }
}

/// Reads the arguments of the call.
fn arguments(text: &str) -> Result<Value, Failure> {
    let mut input = String::new();
    let text = match text {
        "-" => {
            io::stdin().take(MAX_ARGUMENTS).read_to_string(&mut input)?;
            input.as_str()
        }
        text => text,
    };
    let parsed = serde_json::from_str(text);
    let wrong = |message: String| Failure::new(Exit::Usage, message);
    match parsed {
        Ok(Value::Object(arguments)) => Ok(Value::Object(arguments)),
        Ok(_) => Err(wrong(
            "the arguments are an object of JSON, such as '{\"path\": \".\"}'".to_owned(),
        )),
        Err(error) => Err(wrong(format!("the arguments are no JSON: {error}"))),
    }
}

/// Removes the servers that the tool cannot belong to.
fn keep_server_of(tool: &str, config: &mut Config) {
    let is_command = config.tools.contains_key(tool);
    config
        .upstreams
        .retain(|_, upstream| !is_command && tool.starts_with(&upstream.prefix));
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Replaces control characters, which could change what a terminal shows.
fn printable(text: &str) -> String {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars()
        .map(|c| if is_control(c) { '\u{fffd}' } else { c })
        .collect()
}
