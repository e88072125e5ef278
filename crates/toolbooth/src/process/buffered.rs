//! A buffered response: reads the whole output of a program.

use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use toolbooth_core::{CallContext, Content, ToolError, ToolOutput};

use super::kept::{Kept, after_partial_character, missing_line};
use super::lines::Lines;
use super::output::STDERR_TAIL;
use super::pipes::{ROUNDS, Source};
use super::response::{Written, lost, too_long};
use super::running::Running;
use super::start::Spec;
use super::{CommandError, CommandOutput};

/// The output of a running program. Unless it becomes the response, all of it is the partial result
/// of the call.
pub(super) struct Buffered {
    spec: Arc<Spec>,
    running: Running,
    stdout: Kept,
    stderr: Kept,
    /// The first bytes of the standard output, whose complete lines are emitted.
    emitted: Lines,
    is_response: bool,
}

/// Bytes that are converted into a text only if the content is kept.
pub(super) struct Lossy<'a>(pub(super) &'a [u8]);

/// Bytes with a media type that are copied only if the content is kept.
struct Raw<'a>(&'a str, &'a [u8]);

// === impl Buffered ===

impl Buffered {
    pub(super) fn new(spec: Arc<Spec>, running: Running) -> Self {
        let stdout = match spec.output {
            // The start and the end of bytes are not the bytes of any smaller file.
            CommandOutput::Bytes { .. } => Kept::first(spec.output_cap),
            _ => Kept::ends(spec.output_cap),
        };
        let stderr = spec.stderr();
        Self {
            spec,
            running,
            stdout,
            stderr,
            emitted: Lines::default(),
            is_response: false,
        }
    }

    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ToolOutput, ToolError>> {
        for _ in 0..ROUNDS {
            let Self {
                stdout,
                stderr,
                emitted,
                spec,
                ..
            } = self;
            let context = self.running.context().clone();
            let round = self.running.poll_round(cx, |from, bytes| match from {
                Source::Stdout => emit(&context, spec, emitted, stdout.push(bytes)),
                Source::Stderr => {
                    stderr.push(bytes);
                }
            });
            match ready!(round) {
                Ok(None) => {}
                Ok(Some(status)) => return Poll::Ready(self.response(status)),
                Err(source) => return Poll::Ready(Err(lost(&self.spec, source))),
            }
        }
        // There may be more bytes, for which no waker is registered.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn response(&mut self, status: ExitStatus) -> Result<ToolOutput, ToolError> {
        let is_ok = self.spec.is_ok(status);
        if let Some(reason) = self.running.cancel_reason() {
            // The lines of a text are its partial result already.
            if !is_ok || self.spec.output == CommandOutput::Text {
                return Err(ToolError::cancelled(reason));
            }
        }
        let missing = self.stdout.missing();
        let mut line = None;
        let stdout = match &self.spec.output {
            CommandOutput::Json if is_ok => Some(self.json_content()?),
            _ if self.stdout.is_empty() => None,
            CommandOutput::Bytes { media_type } => {
                line = (missing > 0).then(|| missing_line(missing));
                Some(Content::data(media_type, self.stdout.bytes()))
            }
            _ => Some(self.stdout.text().into()),
        };
        self.is_response = true;
        let written = Written {
            stdout,
            missing_line: line,
            missing,
            missing_stderr: self.stderr.missing(),
            stderr: self.stderr.text().trim().to_owned(),
        };
        Ok(written.into_output(&self.spec, status))
    }

    fn json_content(&mut self) -> Result<Content, ToolError> {
        match self.stdout.missing() {
            0 => serde_json::from_slice(&self.stdout.bytes())
                .map(Content::Json)
                .map_err(|source| {
                    ToolError::failed(CommandError::NotJson {
                        program: self.spec.program_name(),
                        source,
                    })
                }),
            missing => Err(too_long(&self.spec, missing)),
        }
    }

    /// Emits the rest of the output: the last bytes, an unfinished line, the end of the standard
    /// error.
    fn emit_rest(&mut self) {
        let context = self.running.context();
        let missing = self.stdout.missing();
        let mut tail = self.stdout.tail();
        if missing > 0 {
            if let Some(rest) = self.emitted.rest() {
                context.emit(Lossy(rest));
            }
            context.emit(missing_line(missing));
            tail = after_partial_character(tail);
        }
        emit(context, &self.spec, &mut self.emitted, tail);
        if let Some(rest) = self.emitted.rest() {
            context.emit(Lossy(rest));
        }
        if !self.stderr.is_empty() {
            context.emit(self.stderr.last_text(STDERR_TAIL));
        }
    }
}

/// Before the program ends, and before the call has ended.
impl Drop for Buffered {
    fn drop(&mut self) {
        if !self.is_response {
            self.emit_rest();
        }
    }
}

/// Emits new output, for the partial result of a call that fails later.
fn emit(context: &CallContext, spec: &Spec, emitted: &mut Lines, bytes: &[u8]) {
    match &spec.output {
        _ if bytes.is_empty() => {}
        CommandOutput::Bytes { media_type } => context.emit(Raw(media_type, bytes)),
        _ => {
            emitted.push(bytes);
            while let Some(line) = emitted.next() {
                context.emit(Lossy(line));
            }
        }
    }
}

// === contents ===

impl From<Lossy<'_>> for Content {
    fn from(text: Lossy<'_>) -> Self {
        Self::Text(String::from_utf8_lossy(text.0).into_owned())
    }
}

impl From<Raw<'_>> for Content {
    fn from(Raw(media_type, bytes): Raw<'_>) -> Self {
        Self::data(media_type, bytes.to_vec())
    }
}
