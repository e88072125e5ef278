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
    /// What to do next.
    tip: Option<&'static str>,
}

/// What to do if there is no file.
const NO_FILE: &str = "`toolbooth init` writes a file, and `toolbooth run -- COMMAND` needs none";

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
        Self {
            exit,
            error,
            tip: None,
        }
    }

    pub(crate) fn with_tip(self, tip: &'static str) -> Self {
        Self {
            tip: Some(tip),
            ..self
        }
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
        if let Some(tip) = self.tip {
            eprintln!("  tip: {tip}");
        }
        self.exit
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        // Its source: why the file could not be read.
        let Some(source) = error.source() else {
            return Self::new(Exit::Usage, error);
        };
        let io: Option<&io::Error> = source.downcast_ref();
        let is_missing = io.is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
        let failure = Self::new(Exit::Unavailable, error);
        match is_missing {
            true => failure.with_tip(NO_FILE),
            false => failure,
        }
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
