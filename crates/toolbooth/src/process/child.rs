use std::fmt;
use std::future::poll_fn;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use process_wrap::std::{ProcessSession, StdCommandWrap, StdCommandWrapper};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::group::Group;
use super::supervisor::{emptied, kill};

/// A program that runs beside calls, such as a server of tools: for authors of adapters.
///
/// It leads a session and a process group of its own, without a controlling terminal. When it
/// exits, the remaining processes of the group receive SIGTERM. Dropping the value kills the group
/// at once: [`end`](Self::end) is the graceful way.
///
/// ```
/// use std::time::Duration;
/// use tokio::io::AsyncReadExt;
/// use tokio::process::Command;
/// use toolbooth::process::ChildProgram;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo ready; sleep 60 & wait"]);
/// let (mut program, mut pipes) = ChildProgram::start(command)?;
/// let mut line = [0; 6];
/// pipes.stdout.read_exact(&mut line).await?;
/// assert_eq!(&line, b"ready\n");
///
/// // Both the shell and its child have ended.
/// program.end(Duration::from_secs(5)).await;
/// assert!(!program.exited().await?.success());
/// # Ok(()) }
/// ```
pub struct ChildProgram {
    group: Arc<Group>,
    exit: Option<ExitStatus>,
}

/// The pipes of a [`ChildProgram`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ChildPipes {
    /// Its standard input. Dropping it is the end of the input.
    pub stdin: ChildStdin,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

// === impl ChildProgram ===

impl ChildProgram {
    /// Starts a program with pipes for its standard input, output and error. It has the arguments,
    /// the environment and the folder of `command`.
    ///
    /// # Errors
    /// The system did not start it.
    ///
    /// # Panics
    /// Without a tokio runtime with io enabled, as tokio's own child processes.
    pub fn start(mut command: Command) -> io::Result<(Self, ChildPipes)> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Kills the program if it is dropped before it has a group.
            .kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let wrap = StdCommandWrap::with_new(program, |_| ());
        ProcessSession.pre_spawn(command.as_std_mut(), &wrap)?;
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("it has no pipes"));
        };
        let group = Group::led_by(child);
        let group = group.ok_or_else(|| io::Error::other("it has no process id"))?;
        let program = Self {
            group: Arc::new(group),
            exit: None,
        };
        let pipes = ChildPipes {
            stdin,
            stdout,
            stderr,
        };
        Ok((program, pipes))
    }

    /// Returns the process id, which is also the id of the group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.id().as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the program has exited. Other processes of its group may still run.
    ///
    /// # Errors
    /// The system did not return its exit status.
    ///
    /// # Cancel safety
    /// Cancel safe. It may be called again, also after the exit.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        poll_fn(|cx| self.group.poll_reaped(cx)).await;
        let exit = poll_fn(|cx| self.group.poll_exit(cx)).await?;
        self.exit = Some(exit);
        Ok(exit)
    }

    /// Ends the group: SIGTERM, and SIGKILL for what is alive after `grace`. Returns when no
    /// process of it is alive.
    ///
    /// # Cancel safety
    /// May be dropped and called again. The grace starts with the first SIGTERM.
    pub async fn end(&mut self, grace: Duration) {
        self.group.terminate();
        let remaining = self.group.remaining(grace);
        if timeout(remaining, emptied(&self.group)).await.is_err() {
            kill(&self.group, grace).await;
        }
    }
}

impl Drop for ChildProgram {
    fn drop(&mut self) {
        self.group.kill();
    }
}

impl fmt::Debug for ChildProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildProgram")
            .field("id", &self.id())
            .field("exit", &self.exit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn start(script: &str) -> (ChildProgram, ChildPipes) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ChildProgram::start(command).expect("it starts")
    }

    #[tokio::test]
    async fn an_exit_is_returned_again() {
        let (mut program, mut pipes) = start("cat; echo problem >&2; exit 3");
        pipes.stdin.write_all(b"text").await.unwrap();
        drop(pipes.stdin);
        let (mut output, mut problem) = (String::new(), String::new());
        pipes.stdout.read_to_string(&mut output).await.unwrap();
        pipes.stderr.read_to_string(&mut problem).await.unwrap();
        assert_eq!((&*output, &*problem), ("text", "problem\n"));
        for _ in 0..2 {
            assert_eq!(program.exited().await.unwrap().code(), Some(3));
        }
        program.end(Duration::from_secs(30)).await;
    }

    #[tokio::test]
    async fn a_group_that_ignores_sigterm_is_killed_after_the_grace() {
        let (mut program, mut pipes) = start("trap '' TERM; sleep 60 & echo ready; wait; wait");
        let mut ready = [0; 6];
        pipes.stdout.read_exact(&mut ready).await.unwrap();
        program.end(Duration::from_millis(50)).await;
        assert!(!program.exited().await.unwrap().success());
        // The child of the shell held the pipe open.
        let mut rest = Vec::new();
        pipes.stdout.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }

    #[tokio::test]
    async fn dropping_it_kills_the_group() {
        let (program, mut pipes) = start("trap '' TERM; sleep 60 & wait; wait");
        drop(program);
        let mut rest = Vec::new();
        pipes.stdout.read_to_end(&mut rest).await.unwrap();
    }
}
