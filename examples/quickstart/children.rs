//! Child processes that end with the call that started them.
//!
//! 1. Dropping [`Running`], which is in the tool's future, kills the process at once.
//! 2. The cleanup hook waits until the process is gone and reaped, which Drop cannot.
//! 3. `kill_on_drop` is for the case that nobody came to run the hook.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use toolbooth::CallContext;

use crate::record::Record;

/// Every child process of this run. Clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Children {
    started: Arc<std::sync::Mutex<Vec<Shared>>>,
}

/// A tool's hold on its child process.
pub(crate) struct Running {
    child: Shared,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How many there were, and how many are still there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) started: usize,
    pub(crate) left: usize,
}

type Shared = Arc<Mutex<Child>>;

// === impl Children ===

impl Children {
    /// Starts this program as a child process that lives no longer than the call.
    pub(crate) fn start(&self, call: &CallContext, args: &[&str]) -> io::Result<Running> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let child = Arc::new(Mutex::new(child));
        self.list().push(Arc::clone(&child));

        let left_behind = Arc::clone(&child);
        Record::of(call).on_cleanup(call, async move |_| {
            // A hook that panics is counted as failed, and the numbers at the end say so.
            end(&mut *left_behind.lock().await)
                .await
                .expect("a child process can be killed and waited for");
        });
        Ok(Running {
            child,
            lines: BufReader::new(output).lines(),
        })
    }

    /// Asks the system about each one.
    pub(crate) async fn count(&self) -> io::Result<Count> {
        let children = self.list().clone();
        let mut left = 0;
        for child in &children {
            left += usize::from(child.lock().await.try_wait()?.is_none());
        }
        Ok(Count {
            started: children.len(),
            left,
        })
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Shared>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills the process unless it has ended, and takes its exit status from the system.
async fn end(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_none() {
        child.kill().await?;
    }
    Ok(())
}

// === impl Running ===

impl Running {
    /// The next line of its output; `None` at the end of it.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        self.lines.next_line().await
    }

    /// Waits for its end, which is an error unless it ended well.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        let status = self.child.lock().await.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the child process ended with {status}"
        )))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody else holds the lock yet: the hook runs after this future is gone.
        if let Ok(mut child) = self.child.try_lock() {
            // It fails where the process has ended already, and then all is well.
            let _ = child.start_kill();
        }
    }
}
