//! Converts the run of a program into the response of a tool.

use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use serde_json::{Map, Value};
use toolbooth_core::{Content, ToolCall, ToolError, ToolOutput};

use super::buffered::Buffered;
use super::error;
use super::start::Spec;
use super::stream::LineStream;
use super::{CommandError, CommandOutput};
use crate::handler::parse;

/// What a buffered program has written.
pub(super) struct Written {
    /// The format of the standard output decides what it is. `None` if it is empty.
    pub(super) stdout: Option<Content>,
    /// The line that states how much of bytes is missing.
    pub(super) missing_line: Option<String>,
    pub(super) missing: u64,
    pub(super) stderr: String,
    pub(super) missing_stderr: u64,
}

pub(super) async fn run(spec: Arc<Spec>, call: ToolCall) -> Result<ToolOutput, ToolError> {
    let (context, args) = call.into_parts();
    let started = parse(args).and_then(|args: Map<String, Value>| spec.start(&context, &args));
    let running = started.inspect_err(|_| context.mark_not_started())?;
    if spec.output == CommandOutput::Lines {
        return Ok(ToolOutput::stream(LineStream::new(spec, running)).with_line_ends());
    }
    let mut buffered = Buffered::new(spec, running);
    poll_fn(|cx| buffered.poll_response(cx)).await
}

// === impl Written ===

impl Written {
    pub(super) fn into_output(self, spec: &Spec, status: ExitStatus) -> ToolOutput {
        let mut contents: Vec<Content> = self.stdout.into_iter().collect();
        contents.extend(self.missing_line.map(Content::from));
        let stderr = (!self.stderr.is_empty()).then_some(contents.len());
        if stderr.is_some() {
            contents.push(self.stderr.into());
        }
        let is_error = !spec.is_ok(status);
        if is_error {
            let limit = spec.limits.expired(status);
            let text = error::exit_text(&spec.program_name(), status, limit.as_deref(), "");
            contents.push(text.into());
        }
        if contents.is_empty() {
            contents.push("".into());
        }
        let mut output = ToolOutput::contents(contents)
            .with_is_error(is_error)
            .with_line_ends();
        if let Some(code) = status.code() {
            output = output.with_meta("exit_code", code);
        }
        if let Some(signal) = status.signal() {
            output = output.with_meta("signal", signal);
        }
        if let Some(index) = stderr {
            output = output.with_meta("stderr", index);
        }
        if self.missing > 0 {
            output = output.with_meta("dropped_bytes", self.missing);
        }
        if self.missing_stderr > 0 {
            output = output.with_meta("stderr_dropped_bytes", self.missing_stderr);
        }
        output
    }
}

// === errors ===

pub(super) fn lost(spec: &Spec, source: std::io::Error) -> ToolError {
    ToolError::failed(CommandError::Lost {
        program: spec.program_name(),
        source,
    })
}

pub(super) fn too_long(spec: &Spec, dropped: u64) -> ToolError {
    ToolError::failed(CommandError::OutputTooLong {
        program: spec.program_name(),
        cap: spec.output_cap,
        dropped,
    })
}
