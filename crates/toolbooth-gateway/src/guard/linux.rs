use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpgrp, getpid, getppid, kill_process, pidfd_open,
    set_child_subreaper, waitpid,
};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::NOT_STARTED;

/// The time that the program has after SIGTERM. It is shorter than that after which toolbooth kills
/// the group, this process among it: what has left the group would then escape.
const GRACE: Duration = Duration::from_millis(1_500);
/// The maximum time in which processes that are killed end.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// The time between two looks at the processes that are left.
const LOOK: Duration = Duration::from_millis(5);

/// Returns whether the end of another process can be awaited.
pub(super) fn is_available() -> bool {
    pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
}

pub(super) fn run(parent: u32, command: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime.and_then(|runtime| runtime.block_on(guard(parent, command)));
    match ended {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            tracing::debug!(%error, "the program was not started");
            report(command, &error);
            ExitCode::from(NOT_STARTED)
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the reader of the standard error expects the program's"
)]
fn report(command: &[OsString], error: &io::Error) {
    let program = command.first().map(|program| program.to_string_lossy());
    eprintln!("{}: {error}", program.unwrap_or_default());
}

async fn guard(parent: u32, command: &[OsString]) -> io::Result<ExitStatus> {
    // The signals of the group are for the program, which decides when it ends.
    let mut terminate = signal(SignalKind::terminate())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let _hangup = signal(SignalKind::hangup())?;
    let mut child_ended = signal(SignalKind::child())?;
    // What leaves the group becomes a child of this process once its parent has ended.
    set_child_subreaper(Some(getpid()))?;
    let parent = open(parent)?;
    let (gone, mut parent_gone) = oneshot::channel();
    // It ends with this process.
    std::thread::spawn(move || {
        let mut fds = [PollFd::new(&parent, PollFlags::IN)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        // No receiver: the program has ended before.
        let _ended = gone.send(());
    });

    let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(args)
        .kill_on_drop(true)
        .spawn()?;
    let main = child.id().and_then(|id| i32::try_from(id).ok());
    let main = main.and_then(Pid::from_raw);
    let mut until = None;
    let status = loop {
        let too_long = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => break status,
            _ = &mut parent_gone => {
                child.start_kill()?;
                break child.wait().await;
            }
            () = too_long => {
                child.start_kill()?;
                break child.wait().await;
            }
            _ = terminate.recv() => {
                until.get_or_insert(Instant::now() + GRACE);
            }
            // The status of the program is for `child`.
            _ = child_ended.recv() => {
                for pid in processes().filter(|pid| Some(*pid) != main && is_child(*pid)) {
                    reap(pid);
                }
            }
        }
    };
    // One that the system does not end is left.
    let _ended = timeout(KILL_LIMIT, kill_others()).await;
    status
}

/// Kills what the program has left: its group, and all that it has started elsewhere. This process
/// remains, to report its end.
async fn kill_others() {
    let is_leader = getpgrp() == getpid();
    loop {
        let is_other = |pid: &Pid| {
            let is_member = is_leader && group(*pid) == Some(getpgrp());
            *pid != getpid() && (is_member || is_child(*pid))
        };
        let others: Vec<_> = processes().filter(is_other).collect();
        if others.is_empty() {
            return;
        }
        for pid in others {
            // It may have ended by itself. Its children are then those of this process.
            let _ended = kill_process(pid, Signal::KILL);
            reap(pid);
        }
        sleep(LOOK).await;
    }
}

/// Releases the number of a child that has ended.
fn reap(pid: Pid) {
    // One that has not ended, or is the child of another process, is left.
    let _reaped = waitpid(Some(pid), WaitOptions::NOHANG);
}

/// Iterates over all processes.
fn processes() -> impl Iterator<Item = Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw)
}

/// Returns whether a process is a child of this one.
fn is_child(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| parent_in(&stat) == Some(getpid()))
}

/// Returns the parent in the file `stat` of a process: the second field after the name.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    let parent = fields.split_ascii_whitespace().nth(1)?;
    Pid::from_raw(parent.parse().ok()?)
}

/// Returns the group of a process. Kernel threads, and processes of other namespaces, have the
/// group 0, which `getpgid` of rustix does not expect.
fn group(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    group_in(&stat)
}

/// Returns the group in the file `stat` of a process (proc(5)): the third field after the name,
/// which is in parentheses and may have any characters.
fn group_in(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    let group = fields.split_ascii_whitespace().nth(2)?;
    Pid::from_raw(group.parse().ok()?)
}

/// Opens the parent, whose number cannot belong to another process while it is the parent.
fn open(parent: u32) -> io::Result<OwnedFd> {
    let gone = || io::Error::other("the process that started it is gone");
    let parent = i32::try_from(parent)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(gone)?;
    let opened = pidfd_open(parent, PidfdFlags::empty())?;
    match getppid() == Some(parent) {
        true => Ok(opened),
        false => Err(gone()),
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(NOT_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_read_after_any_name_and_is_none_for_a_kernel_thread() {
        let stat = "42 (a) S) 9 (b) S 1 77 77 0 -1";
        assert_eq!(group_in(stat), Pid::from_raw(77));
        assert_eq!(group_in("2 (kthreadd) S 0 0 0 0 -1"), None);
        assert_eq!(group(getpid()), Some(getpgrp()));
        assert_eq!(group_in(""), None);
    }
}
