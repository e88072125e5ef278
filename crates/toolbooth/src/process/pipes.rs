//! Our ends of a program's pipes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::output::Tail;

/// How much is read at once.
pub(super) const CHUNK: usize = 8 * 1_024;

/// How often a pipe is read in one poll, where all of it is wanted. A pipe holds no more on the usual systems.
const READS: usize = 8;

/// As far as they are open.
#[derive(Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// What a program is given to read.
pub(super) struct Input {
    pub(super) pipe: ChildStdin,
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

// === impl Pipes ===

impl Pipes {
    /// Writes what the program takes. One that closes its input, or ends, has read enough.
    pub(super) fn feed(&mut self, cx: &mut Context<'_>) {
        while let Some(input) = &mut self.stdin {
            match Pin::new(&mut input.pipe).poll_write(cx, &input.bytes[input.written..]) {
                Poll::Ready(Ok(written)) if written > 0 => input.written += written,
                Poll::Pending if input.written < input.bytes.len() => return,
                // Written to the end, or refused: dropping the pipe closes it.
                _ => self.stdin = None,
            }
        }
    }

    /// True if anything was said.
    pub(super) fn poll_stderr(&mut self, cx: &mut Context<'_>, tail: &mut Tail) -> bool {
        poll_all(&mut self.stderr, cx, |said| tail.push(said))
    }

    /// Reads on for a program that is on its way out, so that its last words neither block nor kill it.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) {
        self.stdin = None;
        poll_all(&mut self.stdout, cx, |_| ());
        poll_all(&mut self.stderr, cx, |_| ());
    }

    /// True if there is something in `out`.
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

    /// When the whole group is gone, what is in the pipes is all there is; a process that has left the group and holds a pipe open
    /// is not waited for. So this asks the system and not tokio, which knows of nothing that it was not told. True if there is something in `out`.
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

/// Takes what a pipe holds, and closes it at its end; true if it held anything.
fn poll_all(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&[u8]),
) -> bool {
    let mut held = false;
    for _ in 0..READS {
        let Some(open) = pipe else { return held };
        let mut space = [0; CHUNK];
        let mut read = ReadBuf::new(&mut space);
        match Pin::new(open).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                take(read.filled());
                held = true;
            }
            Poll::Ready(_) => *pipe = None,
            Poll::Pending => return held,
        }
    }
    // There may be more, of which no waker was told.
    cx.waker().wake_by_ref();
    held
}
