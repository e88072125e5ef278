use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgrp, getpid, getppid, kill_process, kill_process_group, pidfd_open,
};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::NOT_STARTED;

/// Returns whether the end of another process can be awaited.
pub(super) fn is_available() -> bool {
    pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
}

pub(super) fn run(parent: u32, command: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
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
    let _terminate = signal(SignalKind::terminate())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let _hangup = signal(SignalKind::hangup())?;
    let parent = open(parent)?;
    let (gone, parent_gone) = oneshot::channel();
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
    tokio::select! {
        status = child.wait() => {
            kill_others();
            status
        }
        _ = parent_gone => {
            // This process is the leader unless it was started by hand.
            if getpgrp() == getpid() {
                kill_process_group(getpgrp(), Signal::KILL)?;
            }
            child.start_kill()?;
            child.wait().await
        }
    }
}

/// Kills what the program has left in the group. This process remains, to report its end.
fn kill_others() {
    if getpgrp() != getpid() {
        return;
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in numbers.filter_map(Pid::from_raw) {
        if pid != getpid() && group(pid) == Some(getpgrp()) {
            // It may have ended by itself.
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
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
