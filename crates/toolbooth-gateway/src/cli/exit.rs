use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::booth::BoothError;
use crate::config::ConfigError;

/// How the program ends: its exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// 0: success.
    Success,
    /// 1: the tool failed, or its call was rejected.
    ToolFailed,
    /// 2: the command line or the file is wrong.
    Usage,
    /// 3: an address, a file or a server could not be used.
    Unavailable,
    /// 4: calls were abandoned when the program ended.
    Abandoned,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

// === impl Exit ===

impl Exit {
    /// Returns the code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ToolFailed => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Abandoned => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self { exit, error }
    }

    /// Prints the error with its causes. A reader of the output that is gone is no error.
    pub(crate) fn report(&self) -> Exit {
        let io: Option<&io::Error> = self.error.downcast_ref();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Exit::Success;
        }
        eprintln!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(error) = source {
            eprintln!("  caused by: {error}");
            source = error.source();
        }
        self.exit
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match error.source() {
            // The file could not be read.
            Some(_) => Exit::Unavailable,
            None => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

impl From<BoothError> for Failure {
    fn from(error: BoothError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Unavailable, error)
    }
}
