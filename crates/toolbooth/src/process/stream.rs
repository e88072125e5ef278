//! A streaming response: the lines of the output of a program.

use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::json;
use toolbooth_core::{Content, ToolError};

use super::CommandError;
use super::buffered::Lossy;
use super::kept::Kept;
use super::lines::Lines;
use super::output::STDERR_TAIL;
use super::pipes::{ROUNDS, Source};
use super::response::{lost, too_long};
use super::running::Running;
use super::start::Spec;

/// The lines of the standard output, then the standard error or the error of the program.
pub(super) struct LineStream {
    spec: Arc<Spec>,
    running: Running,
    lines: Lines,
    /// The number of bytes of output that are within the cap.
    remaining: usize,
    dropped: u64,
    stderr: Kept,
    state: State,
}

enum State {
    /// The program runs, or its output is not read to the end.
    Open,
    /// The last item follows the last line.
    Ending(Option<Result<Content, ToolError>>),
    Ended,
}

// === impl LineStream ===

impl LineStream {
    pub(super) fn new(spec: Arc<Spec>, running: Running) -> Self {
        Self {
            running,
            lines: Lines::default(),
            remaining: spec.output_cap,
            dropped: 0,
            stderr: spec.stderr(),
            spec,
            state: State::Open,
        }
    }

    /// Reads one round of output.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (lines, stderr) = (&mut self.lines, &mut self.stderr);
        let (remaining, dropped) = (&mut self.remaining, &mut self.dropped);
        let round = self.running.poll_round(cx, |source, bytes| match source {
            Source::Stdout => {
                let (within, beyond) = bytes.split_at(bytes.len().min(*remaining));
                lines.push(within);
                *remaining -= within.len();
                *dropped += beyond.len() as u64;
            }
            Source::Stderr => {
                stderr.push(bytes);
            }
        });
        match ready!(round) {
            Ok(None) => {}
            Ok(Some(status)) => self.state = State::Ending(self.last_item(status)),
            Err(source) => self.state = State::Ending(Some(Err(lost(&self.spec, source)))),
        }
        Poll::Ready(())
    }

    fn last_item(&mut self, status: ExitStatus) -> Option<Result<Content, ToolError>> {
        if !self.spec.is_ok(status) {
            let error = match self.running.cancel_reason() {
                Some(reason) => ToolError::cancelled(reason),
                None => ToolError::failed(CommandError::Exited {
                    program: self.spec.program_name(),
                    status,
                    limit: self.spec.limits.expired(status),
                    stderr: self.stderr.last_text(STDERR_TAIL),
                })
                // As the response of a buffered output, it reports that the program has failed.
                .with_outage(false),
            };
            return Some(Err(error));
        }
        if self.dropped > 0 {
            return Some(Err(too_long(&self.spec, self.dropped)));
        }
        let stderr = self.stderr.text();
        let stderr = stderr.trim();
        (!stderr.is_empty()).then(|| Ok(json!({ "stderr": stderr }).into()))
    }

    /// Emits what was read and not delivered, for the partial result of a call that ends early.
    fn emit_rest(&mut self) {
        let context = self.running.context();
        while let Some(line) = self.lines.next() {
            context.emit(Lossy(line));
        }
        if let Some(rest) = self.lines.rest() {
            context.emit(Lossy(rest));
        }
        if !self.stderr.is_empty() {
            context.emit(self.stderr.last_text(STDERR_TAIL));
        }
    }
}

impl Stream for LineStream {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            if let Some(line) = this.lines.next() {
                return Poll::Ready(Some(Ok(Lossy(line).into())));
            }
            match &mut this.state {
                State::Open => ready!(this.poll_round(cx)),
                State::Ended => return Poll::Ready(None),
                State::Ending(last) => {
                    // A line that the cap truncated is not returned.
                    if this.dropped == 0 {
                        if let Some(rest) = this.lines.rest() {
                            return Poll::Ready(Some(Ok(Lossy(rest).into())));
                        }
                    }
                    let last = last.take();
                    this.state = State::Ended;
                    return Poll::Ready(last);
                }
            }
        }
        // There may be more bytes, for which no waker is registered.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Before the program ends, and before the call has ended.
impl Drop for LineStream {
    fn drop(&mut self) {
        if !matches!(self.state, State::Ended) {
            self.emit_rest();
        }
    }
}
