//! Converts the output of a program into the response of a tool.

use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::{Map, Value};
use tokio::io::ReadBuf;
use toolbooth_core::{CallContext, Content, ToolCall, ToolError, ToolOutput};

use super::output::{Capped, Lossy, Raw, first_line, without_partial_character};
use super::pipes::CHUNK;
use super::running::Running;
use super::start::Spec;
use super::{CommandError, CommandOutput, error};
use crate::handler::parse;

/// Reads the output of a buffered response.
struct Buffered {
    running: Running,
    capped: Capped,
    kept: Vec<u8>,
    /// The number of bytes of `kept` that were emitted.
    emitted: usize,
}

/// A streaming response of lines.
struct Lines {
    spec: Arc<Spec>,
    /// `None` after the end of the program.
    running: Option<Running>,
    capped: Capped,
    /// The bytes read; the first `delivered` of them are delivered.
    pending: Vec<u8>,
    delivered: usize,
    /// Returned after the last line.
    error: Option<ToolError>,
}

pub(super) async fn run(spec: Arc<Spec>, call: ToolCall) -> Result<ToolOutput, ToolError> {
    let (context, args) = call.into_parts();
    let started = parse(args).and_then(|args: Map<String, Value>| spec.start(&context, &args));
    let running = started.inspect_err(|_| context.mark_not_started())?;
    let capped = Capped::new(spec.output_cap);
    if spec.output == CommandOutput::Lines {
        return Ok(ToolOutput::stream(Lines {
            spec,
            running: Some(running),
            capped,
            pending: Vec::new(),
            delivered: 0,
            error: None,
        }));
    }
    let mut buffered = Buffered {
        running,
        capped,
        kept: Vec::new(),
        emitted: 0,
    };
    let status = poll_fn(|cx| buffered.poll_end(cx, &context, &spec)).await?;
    buffered.into_output(status, &spec)
}

// === impl Buffered ===

impl Buffered {
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        context: &CallContext,
        spec: &Spec,
    ) -> Poll<Result<ExitStatus, ToolError>> {
        loop {
            let mut space = [0; CHUNK];
            let mut read = ReadBuf::new(&mut space);
            let polled = ready!(self.running.poll_output(cx, &mut read));
            if let Some(status) = polled.map_err(|source| lost(spec, source))? {
                return Poll::Ready(Ok(status));
            }
            self.kept
                .extend_from_slice(self.capped.admit(read.filled()));
            self.emit_new(context, spec);
        }
    }

    /// Emits the new output, for the partial result of a call that fails later.
    fn emit_new(&mut self, context: &CallContext, spec: &Spec) {
        let fresh = &self.kept[self.emitted..];
        if let CommandOutput::Bytes { media_type } = &spec.output {
            if !fresh.is_empty() {
                context.emit(Raw(media_type, fresh));
            }
            self.emitted = self.kept.len();
            return;
        }
        while let Some((line, taken)) = first_line(&self.kept[self.emitted..]) {
            context.emit(Lossy(line));
            self.emitted += taken;
        }
    }

    fn into_output(mut self, status: ExitStatus, spec: &Spec) -> Result<ToolOutput, ToolError> {
        let dropped = self.capped.dropped();
        let has_output = !self.kept.is_empty();
        let content = match &spec.output {
            CommandOutput::Bytes { media_type } => Content::data(media_type, self.kept),
            CommandOutput::Json if status.success() => {
                if dropped > 0 {
                    return Err(too_long(spec, dropped));
                }
                let value: Value = serde_json::from_slice(&self.kept).map_err(|source| {
                    ToolError::failed(CommandError::NotJson {
                        program: spec.program_name(),
                        source,
                    })
                })?;
                Content::from(value)
            }
            _ if dropped > 0 => Content::from(Lossy(without_partial_character(&self.kept))),
            _ => Content::from(Lossy(&self.kept)),
        };
        let mut output = if status.success() {
            ToolOutput::from(content)
        } else {
            let stderr = self.running.stderr();
            let exit = Content::from(error::exit_text(&spec.program_name(), status, &stderr));
            let contents = match has_output {
                true => vec![content, exit],
                false => vec![exit],
            };
            ToolOutput::contents(contents).with_is_error(true)
        };
        if let Some(code) = status.code() {
            output = output.with_meta("exit_code", code);
        }
        if let Some(signal) = status.signal() {
            output = output.with_meta("signal", signal);
        }
        if dropped > 0 {
            output = output.with_meta("dropped_bytes", dropped);
        }
        Ok(output)
    }
}

// === impl Lines ===

impl Lines {
    /// Returns the next complete line. After the end of the program, also the rest of the output.
    fn next_line(&mut self) -> Option<Content> {
        let pending = &self.pending[self.delivered..];
        if let Some((line, taken)) = first_line(pending) {
            let line = Content::from(Lossy(line));
            self.delivered += taken;
            return Some(line);
        }
        // A line that the cap truncated is not returned.
        let is_last = self.running.is_none() && self.capped.dropped() == 0;
        if !is_last || pending.is_empty() {
            return None;
        }
        let last = Content::from(Lossy(pending));
        self.delivered = self.pending.len();
        Some(last)
    }

    fn set_error(&mut self, status: ExitStatus, stderr: String) {
        let dropped = self.capped.dropped();
        self.error = if !status.success() {
            Some(ToolError::failed(CommandError::Exited {
                program: self.spec.program_name(),
                status,
                stderr,
            }))
        } else if dropped > 0 {
            Some(too_long(&self.spec, dropped))
        } else {
            None
        };
    }
}

impl Stream for Lines {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(line) = this.next_line() {
                return Poll::Ready(Some(Ok(line)));
            }
            let Some(running) = &mut this.running else {
                return Poll::Ready(this.error.take().map(Err));
            };
            let mut space = [0; CHUNK];
            let mut read = ReadBuf::new(&mut space);
            match ready!(running.poll_output(cx, &mut read)) {
                Ok(None) => {
                    this.pending.drain(..this.delivered);
                    this.delivered = 0;
                    let admitted = this.capped.admit(read.filled());
                    this.pending.extend_from_slice(admitted);
                }
                Ok(Some(status)) => {
                    let stderr = running.stderr();
                    this.running = None;
                    this.set_error(status, stderr);
                }
                Err(source) => {
                    this.running = None;
                    this.error = Some(lost(&this.spec, source));
                }
            }
        }
    }
}

// === errors ===

fn lost(spec: &Spec, source: std::io::Error) -> ToolError {
    ToolError::failed(CommandError::Lost {
        program: spec.program_name(),
        source,
    })
}

fn too_long(spec: &Spec, dropped: u64) -> ToolError {
    ToolError::failed(CommandError::OutputTooLong {
        program: spec.program_name(),
        cap: spec.output_cap,
        dropped,
    })
}
