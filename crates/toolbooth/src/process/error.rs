use std::io;
use std::process::ExitStatus;

/// Why a program gave no answer: the source of a [`ToolError::Tool`](crate::ToolError::Tool).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be started: there is no such program, or no such working directory, or the system refused.
    #[error("the program `{program}` could not be started")]
    #[non_exhaustive]
    NotStarted {
        /// The program.
        program: String,
        /// What the system says; its kind tells a program that is missing (`NotFound`).
        source: io::Error,
    },
    /// It ended otherwise than well, where the answer was a stream of its lines. Where the answer is whole,
    /// this is an answer with `is_error` instead.
    #[error("{}", ended(.program, *.status, .stderr))]
    #[non_exhaustive]
    Exited {
        /// The program.
        program: String,
        /// Its exit code, or the signal that ended it.
        status: ExitStatus,
        /// The last of what it said on its standard error.
        stderr: String,
    },
    /// It wrote more than the cap, and what is left is no answer: lines that end early, or half of a JSON value.
    #[error("the program `{program}` wrote {dropped} bytes more than the {cap} that are kept")]
    #[non_exhaustive]
    OutputTooLong {
        /// The program.
        program: String,
        /// How many bytes are kept.
        cap: usize,
        /// How many were not.
        dropped: u64,
    },
    /// Its output is no JSON.
    #[error("the output of the program `{program}` is no JSON")]
    #[non_exhaustive]
    NotJson {
        /// The program.
        program: String,
        /// Where, and why.
        source: serde_json::Error,
    },
    /// The system did not let us read its output, or wait for its end.
    #[error("the program `{program}` could not be followed to its end")]
    #[non_exhaustive]
    Lost {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
}

/// What is said of a program that ended otherwise than well.
pub(super) fn ended(program: &str, status: ExitStatus, stderr: &str) -> String {
    match stderr {
        "" => format!("the program `{program}` ended with {status}"),
        stderr => format!("the program `{program}` ended with {status}: {stderr}"),
    }
}
