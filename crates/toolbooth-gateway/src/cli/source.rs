use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

/// Where the settings come from: a file, or one command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The command line of an MCP server.
    Command(Vec<String>),
}

/// The file that is read if none is given.
pub(crate) const DEFAULT_FILE: &str = "booth.toml";

// === impl Source ===

impl Source {
    /// Returns the command if there is one, otherwise the file, by default `booth.toml`.
    pub(crate) fn new(file: Option<PathBuf>, command: Vec<String>) -> Self {
        match command.is_empty() {
            true => Self::File(file.unwrap_or_else(|| DEFAULT_FILE.into())),
            false => Self::Command(command),
        }
    }

    /// Returns the file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Command(_) => None,
        }
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// As [`Config::load`] and [`Config::for_command`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        match self {
            Self::File(file) => Config::load(file),
            Self::Command(command) => Config::for_command(command),
        }
    }
}
