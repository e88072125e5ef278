use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toolbooth::policy::PolicyError;

/// A file that cannot be used, and where its fault is.
///
/// Neither the text nor `Debug` has a secret of the file.
#[derive(Debug)]
pub struct ConfigError {
    file: Option<PathBuf>,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(io::Error),
    Invalid(PolicyError),
    Command(String),
}

// === impl ConfigError ===

impl ConfigError {
    pub(super) fn unreadable(file: &Path, error: io::Error) -> Self {
        Self {
            file: Some(file.to_owned()),
            fault: Fault::Unreadable(error),
        }
    }

    pub(super) fn command(message: impl Into<String>) -> Self {
        Self {
            file: None,
            fault: Fault::Command(message.into()),
        }
    }

    pub(super) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Returns the file, if the settings are those of a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the line of the fault, from 1. `None` for a file that could not be read.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match &self.fault {
            Fault::Invalid(error) => error.line(),
            Fault::Unreadable(_) | Fault::Command(_) => None,
        }
    }

    /// Returns the column of the fault in characters, from 1.
    #[must_use]
    pub const fn column(&self) -> Option<usize> {
        match &self.fault {
            Fault::Invalid(error) => error.column(),
            Fault::Unreadable(_) | Fault::Command(_) => None,
        }
    }

    /// Returns the keys that lead to the fault, such as `upstreams.time.url`. Empty if it is in no
    /// setting.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.fault {
            Fault::Invalid(error) => error.path(),
            Fault::Unreadable(_) | Fault::Command(_) => "",
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        match &self.fault {
            Fault::Unreadable(_) => f.write_str("the file could not be read"),
            Fault::Invalid(error) => error.fmt(f),
            Fault::Command(message) => f.write_str(message),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            Fault::Invalid(_) | Fault::Command(_) => None,
        }
    }
}

impl From<PolicyError> for ConfigError {
    fn from(error: PolicyError) -> Self {
        Self {
            file: None,
            fault: Fault::Invalid(error),
        }
    }
}
