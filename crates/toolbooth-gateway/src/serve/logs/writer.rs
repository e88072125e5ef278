//! Writes lines on a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Sends lines to the thread. Without room for a line, it is dropped and counted.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

/// Waits up to a second when it is dropped, until the lines before are written.
#[derive(Debug)]
#[must_use = "dropping it waits for the lines"]
pub struct LogGuard {
    queue: SyncSender<Vec<u8>>,
    written: Receiver<()>,
}

/// The lines that wait to be written.
const MAX_LINES: usize = 4_096;
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

// === impl Lines ===

impl Lines {
    pub(super) fn new(to: impl Write + Send + 'static) -> (Self, LogGuard) {
        let (queue, lines) = sync_channel(MAX_LINES);
        let (done, written) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        // Detached: it may be blocked by a reader that stalls.
        std::thread::spawn(move || {
            write(&lines, to, &counter);
            // No guard waits if this fails.
            done.send(()).unwrap_or_default();
        });
        let guard = LogGuard {
            queue: queue.clone(),
            written,
        };
        (Self { queue, dropped }, guard)
    }
}

/// Writes lines until an empty one.
fn write(lines: &Receiver<Vec<u8>>, mut to: impl Write, dropped: &AtomicU64) {
    for line in lines.iter().take_while(|line| !line.is_empty()) {
        let missing = dropped.swap(0, Ordering::Relaxed);
        let noted = match missing {
            0 => Ok(()),
            missing => writeln!(to, "{missing} lines were dropped here"),
        };
        if noted.and_then(|()| to.write_all(&line)).is_err() {
            // Nothing reads the log any more.
            return;
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: self,
            text: Vec::new(),
        }
    }
}

// === impl Line ===

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.lines.queue.try_send(text).is_err() {
            self.lines.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === impl LogGuard ===

impl Drop for LogGuard {
    fn drop(&mut self) {
        // A full queue means that the reader stalls.
        if self.queue.try_send(Vec::new()).is_ok() {
            // After that, the rest is lost.
            let _written = self.written.recv_timeout(FLUSH_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that stalls while the lock is taken.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(lines: &Lines, text: &str) {
        lines
            .make_writer()
            .write_all(text.as_bytes())
            .expect("to memory");
    }

    #[test]
    fn reader_that_stalls_stalls_no_writer_and_the_lines_without_room_are_counted() {
        let reader = Reader::default();
        let (lines, guard) = Lines::new(reader.clone());
        let stall = reader.0.lock().expect("not poisoned");
        let sent = MAX_LINES + 10;
        for _ in 0..sent {
            log(&lines, "line\n");
        }
        drop(stall);
        // The thread may have taken one line before the others.
        while reader.0.lock().expect("not poisoned").len() < MAX_LINES * 5 {
            std::thread::yield_now();
        }
        log(&lines, "last\n");
        drop(guard);
        let text = String::from_utf8(reader.0.lock().expect("not poisoned").clone());
        let text = text.expect("ASCII");
        let written = text.lines().filter(|line| *line == "line").count();
        let dropped: usize = text
            .lines()
            .filter_map(|line| {
                line.strip_suffix(" lines were dropped here")?
                    .parse::<usize>()
                    .ok()
            })
            .sum();
        assert_eq!(written + dropped, sent);
        assert!(dropped >= 9 && text.ends_with("last\n"), "{dropped}");
    }
}
