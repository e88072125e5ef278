//! The file `booth.toml`: what is in it, and how it is read.
//!
//! [`Config::load`] reads a file, and [`Config::from_toml`] a text. Both resolve the variables of
//! the environment that the file names, and check everything that can be checked without starting
//! anything. Of a file with a fault nothing is used. The page of the [crate] describes each
//! table.
//!
//! ```
//! use toolbooth_gateway::config::Config;
//!
//! # fn main() -> Result<(), toolbooth_gateway::config::ConfigError> {
//! let config = Config::from_toml(
//!     r#"
//!     [upstreams.time]
//!     command = ["uvx", "mcp-server-time"]
//!
//!     [policies.default]
//!     timeout = "30s"
//!     "#,
//! )?;
//! assert!(config.listen.stdio && config.upstreams["time"].prefix.is_empty());
//!
//! let wrong = Config::from_toml("[upstreams.time]\ncomand = [\"uvx\", \"mcp-server-time\"]\n");
//! let error = wrong.err().expect("there is no such key");
//! assert_eq!((error.line(), error.column()), (Some(2), Some(1)));
//! assert!(error.to_string().ends_with("did you mean `command`?"));
//! # Ok(()) }
//! ```

mod check;
mod command;
mod error;
mod file;
mod limits;
mod listen;
mod part;
mod secret;
mod service;
mod store;
mod tenant;
mod tool;
mod upstream;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use toolbooth::policy::{Document, MAX_TEXT, Policies};

pub(crate) use check::{is_name, name_rule};
pub use error::ConfigError;
pub use listen::{Admin, Listen, Log, LogFormat, Shutdown};
pub use secret::Secret;
pub use store::Limits;
pub use tenant::{Tenant, TokenHash};
pub use tool::{Argument, CommandConfig, Output};
pub use upstream::{Transport, Upstream};

/// The most servers in one file.
pub const MAX_UPSTREAMS: usize = 100;
/// The most commands in one file.
pub const MAX_TOOLS: usize = 1_000;
/// The most tenants in one file.
pub const MAX_TENANTS: usize = 10_000;

/// The settings of a booth, which are checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The MCP servers, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The commands that are tools, by the name of the tool.
    pub tools: BTreeMap<String, CommandConfig>,
    /// The limits of all tools, with the [default limits](Self::DEFAULT_POLICIES) for what the
    /// file does not name. They may name tools of servers that are not connected yet.
    pub policies: Policies,
    /// The store of the limits, if several gateways share them.
    pub limits: Option<Limits>,
    /// Where clients connect.
    pub listen: Listen,
    /// The clients that have tokens, by name.
    pub tenants: BTreeMap<String, Tenant>,
    /// The address of the operator, if there is one.
    pub admin: Option<Admin>,
    /// What is logged.
    pub log: Log,
    /// How long running calls have when the program ends.
    pub shutdown: Shutdown,
}

// === impl Config ===

impl Config {
    /// Reads a file of at most [`MAX_TEXT`] bytes, with the variables of the environment.
    ///
    /// # Errors
    /// If the file cannot be read, with the error of the system as its source. If its contents are
    /// wrong, with the line, the column, the keys, and what is allowed there.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read_bounded(path).map_err(|error| ConfigError::unreadable(path, error))?;
        Self::from_toml(&text).map_err(|error| error.in_file(path))
    }

    /// Reads a text, with the variables of this process's environment.
    ///
    /// # Errors
    /// As [`load`](Self::load), without a file.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::from_toml_with(text, |name| std::env::var(name).ok())
    }

    /// Reads a text, with variables of the environment that `variable` returns.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml).
    pub fn from_toml_with(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let document = Document::new(text)?;
        let mut config = file::read(&document, &variable)?;
        check::check(&config, &document)?;
        limits::add_defaults(&mut config)?;
        Ok(config)
    }

    /// Returns the settings of one MCP server that `command` starts, without a file.
    ///
    /// The server has the whole environment of this process, and serves over standard input and
    /// output. Its tools keep their names, and have the
    /// [default limits](Self::DEFAULT_POLICIES).
    ///
    /// # Errors
    /// If there is no program in `command`.
    pub fn for_command(
        command: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        command::config(command.into_iter().map(Into::into).collect())
    }

    /// Sets the address of HTTP, in place of the listeners that there are.
    ///
    /// # Errors
    /// If other machines reach the address, and clients need no token.
    pub fn with_http(mut self, http: SocketAddr) -> Result<Self, ConfigError> {
        if check::is_open(http, &self) {
            return Err(ConfigError::command(format!(
                "{http} is reachable from other machines, so clients need tokens: use a file with \
                 [tenants.NAME], or listen on 127.0.0.1"
            )));
        }
        self.listen.http = Some(http);
        self.listen.stdio = false;
        Ok(self)
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let limit = u64::try_from(MAX_TEXT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut text = String::new();
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
