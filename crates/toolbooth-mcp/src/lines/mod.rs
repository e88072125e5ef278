//! Lines of a bounded length: a message is one line.

mod id;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

#[cfg(unix)]
pub(crate) use self::id::has_method;
pub(crate) use self::id::id_of;

/// The maximum length of a message, in bytes.
pub(crate) const MAX_LINE: usize = 16 * 1_024 * 1_024;

/// The number of the first and of the last bytes of a line that are enough to find its id.
const ENOUGH: usize = 256;

/// Reads lines from a pipe.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    pipe: BufReader<R>,
    max: usize,
    line: Vec<u8>,
    /// The rest of a line that is too long is read and dropped.
    is_too_long: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// The first and the last bytes of a line that is longer than the maximum.
    TooLong(&'a [u8], &'a [u8]),
}

// === impl Lines ===

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(pipe: R, max: usize) -> Self {
        Self {
            pipe: BufReader::with_capacity(64 * 1_024, pipe),
            max: max.max(2 * ENOUGH),
            line: Vec::new(),
            is_too_long: false,
        }
    }

    /// Reads a line. False at the end of the output, or if reading fails. A line without a line
    /// feed is not complete, and dropped.
    ///
    /// Cancel safe: what was read of the line is kept. Afterwards, [`take`](Self::take) the line.
    pub(crate) async fn read(&mut self) -> bool {
        loop {
            let Ok(read) = self.pipe.fill_buf().await else {
                return false;
            };
            if read.is_empty() {
                return false;
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            if self.line.len() + part.len() > self.max {
                self.is_too_long = true;
            }
            self.line.extend_from_slice(part);
            if self.is_too_long {
                // The buffer of the pipe bounds what it has beyond the maximum.
                let tail = self.line.len().saturating_sub(ENOUGH).max(ENOUGH);
                if tail < self.line.len() {
                    self.line.drain(ENOUGH..tail);
                }
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.pipe.consume(consumed);
            if end.is_some() {
                return true;
            }
        }
    }

    /// Passes the line that was read to `parse`, and begins the next one.
    pub(crate) fn take<T>(&mut self, parse: impl FnOnce(Line<'_>) -> T) -> T {
        let line = match std::mem::take(&mut self.is_too_long) {
            false => Line::Whole(self.line.strip_suffix(b"\r").unwrap_or(&self.line)),
            true => {
                let (start, end) = self.line.split_at(ENOUGH.min(self.line.len()));
                Line::TooLong(start, end)
            }
        };
        let parsed = parse(line);
        self.line.clear();
        // Memory of a long line is not kept.
        self.line.shrink_to(64 * 1_024);
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(output: &[u8], max: usize) -> Vec<String> {
        let mut lines = Lines::new(output, max);
        let mut read = Vec::new();
        while lines.read().await {
            read.push(lines.take(|line| match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::TooLong(start, end) => {
                    assert!(start.len() == ENOUGH && end.len() == ENOUGH);
                    let ends = [start[0], end[end.len() - 1]];
                    format!("too long: {}", String::from_utf8_lossy(&ends))
                }
            }));
        }
        read
    }

    #[tokio::test]
    async fn lines_are_without_their_end_and_an_unfinished_one_is_dropped() {
        let read = lines(b"one\r\n\ntwo\nthree", 1_000).await;
        assert_eq!(read, ["one", "", "two"]);
    }

    #[tokio::test]
    async fn of_a_line_that_is_too_long_the_ends_are_kept() {
        let long = format!("a{}z", "-".repeat(1 << 20));
        let read = lines(format!("x\n{long}\n{long}\ny\n").as_bytes(), 1_000).await;
        assert_eq!(read, ["x", "too long: az", "too long: az", "y"]);
        let exact = "-".repeat(1_000);
        let read = lines(format!("{exact}\n{exact}-\n").as_bytes(), 1_000).await;
        assert_eq!(read, [exact.as_str(), "too long: --"]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_needs_bounded_memory() {
        let mut lines = Lines::new(tokio::io::repeat(b'-'), 1_000);
        let reading = tokio::time::timeout(std::time::Duration::from_millis(50), async {
            // It never ends: the task yields to the runtime.
            tokio::select! {
                biased;
                read = lines.read() => read,
                () = tokio::task::yield_now() => false,
            }
        });
        drop(reading.await);
        assert!(lines.line.len() <= 2 * ENOUGH, "{}", lines.line.len());
    }
}
