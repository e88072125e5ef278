//! This process's ends of a program's pipes.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// The number of bytes per read.
const CHUNK: usize = 8 * 1_024;

/// The maximum number of rounds per poll. Each reads one chunk of both outputs: 64 KiB in all.
pub(super) const ROUNDS: usize = 4;

/// The usual size of a pipe, for a system that does not report how much a pipe holds.
const PIPE_SIZE: usize = 64 * 1_024;

/// The pipes that are still open.
#[derive(Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Output<ChildStdout>,
    pub(super) stderr: Output<ChildStderr>,
}

/// The standard input of a program.
pub(super) struct Input {
    pub(super) pipe: ChildStdin,
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

/// An output of a program.
pub(super) struct Output<P> {
    /// `None` after its end.
    pipe: Option<P>,
    /// The number of bytes still to read after the exit of the program.
    rest: Option<usize>,
}

/// The output to which bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
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

    /// Reads one chunk of each output; returns whether there was any.
    ///
    /// # Errors
    /// The standard output cannot be read.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Source, &[u8]),
    ) -> io::Result<bool> {
        let mut space = [0; CHUNK];
        // An error of the standard error closes it, and does not fail the call.
        let stderr = self.stderr.read(cx, &mut space).unwrap_or_default();
        let has_stderr = !stderr.is_empty();
        if has_stderr {
            take(Source::Stderr, stderr);
        }
        let stdout = self.stdout.read(cx, &mut space)?;
        if !stdout.is_empty() {
            take(Source::Stdout, stdout);
        }
        Ok(has_stderr || !stdout.is_empty())
    }

    /// Reads and drops the output of a program that is ending, so that its writes neither block nor
    /// fail.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) {
        self.stdin = None;
        for _ in 0..ROUNDS {
            if !self.read(cx, |_, _| ()).unwrap_or(true) {
                return;
            }
        }
        // There may be more bytes, for which no waker is registered.
        cx.waker().wake_by_ref();
    }

    /// Ends both outputs after the bytes that their pipes hold now.
    ///
    /// After the exit of the program: its own output is in the pipes. A process that has left the
    /// group may hold them open, and its output is not awaited.
    pub(super) fn end_with_held_bytes(&mut self) {
        self.stdin = None;
        self.stdout.end_with_held_bytes();
        self.stderr.end_with_held_bytes();
    }

    /// Returns whether both outputs have ended.
    pub(super) const fn have_ended(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }
}

// === impl Output ===

impl<P> Output<P> {
    pub(super) const fn new(pipe: Option<P>) -> Self {
        Self { pipe, rest: None }
    }
}

impl<P: AsyncRead + AsFd + Unpin> Output<P> {
    /// Reads the next bytes. None if there are none yet, or after the end.
    fn read<'a>(&mut self, cx: &mut Context<'_>, space: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(&[]);
        };
        let read = match &mut self.rest {
            None => {
                let mut buffer = ReadBuf::new(space);
                match Pin::new(pipe).poll_read(cx, &mut buffer) {
                    Poll::Pending => return Ok(&[]),
                    Poll::Ready(read) => read.map(|()| buffer.filled().len()),
                }
            }
            // Source the file descriptor, which does not block: tokio reads only after an event of
            // its driver.
            Some(rest) => {
                let next = &mut space[..CHUNK.min(*rest)];
                match retry_on_intr(|| rustix::io::read(&*pipe, &mut *next)) {
                    Err(Errno::AGAIN) => Ok(0),
                    read => read.map_err(io::Error::from),
                }
                .inspect(|read| *rest -= read)
            }
        };
        match read {
            Ok(read) if read > 0 => Ok(&space[..read]),
            ended => {
                self.pipe = None;
                ended.map(|_| &space[..0])
            }
        }
    }

    fn end_with_held_bytes(&mut self) {
        if let (Some(pipe), None) = (&self.pipe, self.rest) {
            let held = ioctl_fionread(pipe).ok();
            let held = held.and_then(|held| usize::try_from(held).ok());
            self.rest = Some(held.unwrap_or(PIPE_SIZE));
        }
    }
}

impl<P> Default for Output<P> {
    fn default() -> Self {
        Self::new(None)
    }
}
