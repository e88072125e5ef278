//! The end of the standard error of a program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio_util::sync::CancellationToken;
use toolbooth_core::Name;

use super::error::last_of;

/// The number of bytes that are kept.
pub(crate) const TAIL: usize = 8 * 1_024;

/// The number of lines in an error.
const LAST_LINES: usize = 10;

/// Reads the standard error until its end, so that it never blocks the program. Clones are handles
/// to the same text.
#[derive(Debug, Clone)]
pub(crate) struct Stderr {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    ended: CancellationToken,
    closed: CancellationToken,
}

// === impl Stderr ===

impl Stderr {
    pub(crate) fn read(mut pipe: ChildStderr, server: Name) -> Self {
        let stderr = Self {
            bytes: Arc::default(),
            ended: CancellationToken::new(),
            closed: CancellationToken::new(),
        };
        let reader = stderr.clone();
        tokio::spawn(async move {
            let _ended = reader.ended.clone().drop_guard();
            let mut buffer = vec![0; 4_096];
            loop {
                let read = tokio::select! {
                    read = pipe.read(&mut buffer) => read,
                    () = reader.closed.cancelled() => return,
                };
                match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        let text = String::from_utf8_lossy(&buffer[..count]);
                        tracing::debug!(%server, stderr = text.trim_end(), "a server wrote");
                        reader.push(&buffer[..count]);
                    }
                }
            }
        });
        stderr
    }

    /// Returns the end of the text, from the beginning of a line. Invalid UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once('\n') {
            Some((_, rest)) if bytes.len() == TAIL && !rest.is_empty() => rest.to_owned(),
            _ => text.into_owned(),
        }
    }

    /// Returns the last lines, for an error.
    pub(crate) fn tail(&self) -> Arc<str> {
        let text = self.text();
        let lines: Vec<_> = text.trim().lines().collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        last_of(&lines[last..].join("\n"))
    }

    /// Waits for the end of the text. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops reading.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    fn push(&self, read: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(read);
        let excess = bytes.len().saturating_sub(TAIL);
        bytes.drain(..excess);
    }
}
