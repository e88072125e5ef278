use std::io;
use std::process::ExitStatus;

/// The error of a program: the source of a [`ToolError::Tool`](crate::ToolError::Tool).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The program could not be started, such as for a missing program or working directory.
    #[error("the program `{program}` could not be started")]
    #[non_exhaustive]
    NotStarted {
        /// The program.
        program: String,
        /// The error of the system. Its kind is `NotFound` for a missing program.
        source: io::Error,
    },
    /// The program failed after a streaming response of its lines had begun. With any other output,
    /// the response has `is_error` instead.
    #[error("{}", exit_text(.program, *.status, .limit.as_deref(), .stderr))]
    #[non_exhaustive]
    Exited {
        /// The program.
        program: String,
        /// The exit code, or the signal that ended the program.
        status: ExitStatus,
        /// The limit of the tool that ended the program, if its exit shows one.
        limit: Option<String>,
        /// The end of its standard error.
        stderr: String,
    },
    /// The output exceeds the cap, and the rest is lines or JSON that would be incomplete.
    #[error("the program `{program}` wrote {dropped} bytes more than the cap of {cap}")]
    #[non_exhaustive]
    OutputTooLong {
        /// The program.
        program: String,
        /// The maximum number of bytes.
        cap: usize,
        /// The number of bytes beyond it.
        dropped: u64,
    },
    /// The output is not valid JSON.
    #[error("the output of the program `{program}` is not valid JSON")]
    #[non_exhaustive]
    NotJson {
        /// The program.
        program: String,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// Reading the output or waiting for the exit of the program failed.
    #[error("the output or the exit status of the program `{program}` could not be read")]
    #[non_exhaustive]
    Lost {
        /// The program.
        program: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Returns the text for a program that failed.
pub(super) fn exit_text(
    program: &str,
    status: ExitStatus,
    limit: Option<&str>,
    stderr: &str,
) -> String {
    let mut text = format!("the program `{program}` ended with {status}");
    if let Some(limit) = limit {
        text.push_str(", by its ");
        text.push_str(limit);
    }
    if !stderr.is_empty() {
        text.push_str(": ");
        text.push_str(stderr);
    }
    text
}
