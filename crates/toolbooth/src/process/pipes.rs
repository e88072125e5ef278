//! This process's ends of a program's pipes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::output::Tail;

/// The number of bytes per read.
pub(super) const CHUNK: usize = 8 * 1_024;

/// The maximum number of reads per poll of a pipe that is drained: 64 KiB, the usual size of a
/// pipe.
const READS: usize = 8;

/// The pipes that are still open.
#[derive(Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// The standard input of a program.
pub(super) struct Input {
    pub(super) pipe: ChildStdin,
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

// === impl Pipes ===

impl Pipes {
    /// Writes input until the pipe is full. An input that the program closed counts as written.
    pub(super) fn feed(&mut self, cx: &mut Context<'_>) {
        while let Some(input) = &mut self.stdin {
            match Pin::new(&mut input.pipe).poll_write(cx, &input.bytes[input.written..]) {
                Poll::Ready(Ok(written)) if written > 0 => input.written += written,
                Poll::Pending if input.written < input.bytes.len() => return,
                // All is written, or the program has closed its end. Dropping the pipe closes it.
                _ => self.stdin = None,
            }
        }
    }

    /// Reads standard error into `tail`; returns whether any bytes were read.
    pub(super) fn poll_stderr(&mut self, cx: &mut Context<'_>, tail: &mut Tail) -> bool {
        poll_all(&mut self.stderr, cx, |bytes| tail.push(bytes))
    }

    /// Reads and drops the output of a program that is ending, so that its writes neither block nor
    /// fail.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) {
        self.stdin = None;
        poll_all(&mut self.stdout, cx, |_| ());
        poll_all(&mut self.stderr, cx, |_| ());
    }

    /// Reads standard output into `out`; returns whether it has any bytes.
    pub(super) fn poll_stdout(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> io::Result<bool> {
        let Some(pipe) = &mut self.stdout else {
            return Ok(false);
        };
        if let Poll::Ready(read) = Pin::new(pipe).poll_read(cx, out) {
            read?;
            if out.filled().is_empty() {
                self.stdout = None;
            }
        }
        Ok(!out.filled().is_empty())
    }

    /// Reads the rest of the output after the whole group has ended; returns whether `out` has any
    /// bytes.
    ///
    /// A process that has left the group may hold a pipe open, and is not awaited. So this reads
    /// from the file descriptor directly: tokio reads only after an event of the driver.
    pub(super) fn take_rest(&mut self, tail: &mut Tail, out: &mut ReadBuf<'_>) -> bool {
        for _ in 0..READS {
            let Some(pipe) = &self.stderr else { break };
            let mut space = [0; CHUNK];
            match rustix::io::read(pipe, &mut space) {
                Ok(read) if read > 0 => tail.push(&space[..read]),
                _ => self.stderr = None,
            }
        }
        self.stderr = None;
        let Some(pipe) = &self.stdout else {
            return false;
        };
        match rustix::io::read(pipe, out.initialize_unfilled()) {
            Ok(read) if read > 0 => {
                out.advance(read);
                true
            }
            _ => {
                self.stdout = None;
                false
            }
        }
    }
}

/// Drains a pipe, and closes it at its end; returns whether any bytes were read.
fn poll_all(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&[u8]),
) -> bool {
    let mut any = false;
    for _ in 0..READS {
        let Some(open) = pipe else { return any };
        let mut space = [0; CHUNK];
        let mut read = ReadBuf::new(&mut space);
        match Pin::new(open).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                take(read.filled());
                any = true;
            }
            Poll::Ready(_) => *pipe = None,
            Poll::Pending => return any,
        }
    }
    // There may be more bytes, for which no waker is registered.
    cx.waker().wake_by_ref();
    any
}
