//! Limits on what a program may use, which other programs set: `prlimit` and `setpriv`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{CommandTool, program};
use crate::middleware::ConfigError;

/// The limits of a tool.
#[derive(Clone, Default)]
pub(super) struct Limits {
    cpu_seconds: Option<u64>,
    memory: Option<u64>,
    processes: Option<u64>,
    file_size: Option<u64>,
    /// The file of `prlimit`, if there is a limit for it.
    prlimit: Option<PathBuf>,
    /// The file of `setpriv`, if the program is killed when this process ends.
    setpriv: Option<PathBuf>,
}

// === impl CommandTool ===

/// Limits on what the program may use. They need Linux, and the program `prlimit` or `setpriv` of
/// util-linux in the `PATH` of this process.
///
/// These programs set the limit, and then execute the program in the same process. If the program
/// is a script whose interpreter is missing, they exit with the code 127.
impl CommandTool {
    /// Sets the CPU time that the program, and each process that it starts, may use. It is rounded
    /// up to seconds. No limit by default.
    ///
    /// At the limit a process receives SIGXCPU, and SIGKILL after one second more of CPU time. The
    /// response or the error names the limit if the program ends by SIGXCPU.
    ///
    /// # Errors
    /// [`ConfigError::MissingProgram`] if there is no `prlimit` in `PATH`.
    pub fn with_cpu_limit(self, limit: Duration) -> Result<Self, ConfigError> {
        let part = u64::from(limit.subsec_nanos() > 0);
        let seconds = limit.as_secs().saturating_add(part);
        self.limited(|limits| limits.cpu_seconds = Some(seconds.max(1)))
    }

    /// Sets the address space that the program, and each process that it starts, may map, in bytes.
    /// No limit by default.
    ///
    /// At the limit an allocation of the process fails. How the program reports that is its own
    /// matter, so no response or error names this limit. Address space is more than the memory in
    /// use: a runtime such as that of Go or Java reserves gigabytes.
    ///
    /// # Errors
    /// [`ConfigError::MissingProgram`] if there is no `prlimit` in `PATH`.
    pub fn with_memory_limit(self, bytes: u64) -> Result<Self, ConfigError> {
        self.limited(|limits| limits.memory = Some(bytes))
    }

    /// Sets the number of processes and threads up to which the program may start more. No limit
    /// by default.
    ///
    /// The system counts all processes of the user, including this one, and excludes root from the
    /// limit. So it protects a host on which tools have a user of their own. At the limit a fork of
    /// the program fails with EAGAIN.
    ///
    /// # Errors
    /// [`ConfigError::MissingProgram`] if there is no `prlimit` in `PATH`.
    pub fn with_process_limit(self, processes: u64) -> Result<Self, ConfigError> {
        self.limited(|limits| limits.processes = Some(processes))
    }

    /// Sets the size up to which the program, and each process that it starts, may write a file, in
    /// bytes. No limit by default. Pipes are not limited.
    ///
    /// At the limit a process receives SIGXFSZ. The response or the error names the limit if the
    /// program ends by it.
    ///
    /// # Errors
    /// [`ConfigError::MissingProgram`] if there is no `prlimit` in `PATH`.
    pub fn with_file_size_limit(self, bytes: u64) -> Result<Self, ConfigError> {
        self.limited(|limits| limits.file_size = Some(bytes))
    }

    /// Sets whether the system kills the program when this process ends without running its
    /// cleanup, such as by SIGKILL. False by default.
    ///
    /// Only the program itself is killed, not what it has started. A program that changes its user
    /// is not killed. All such programs are started by one thread, because the system observes the
    /// end of that thread.
    ///
    /// # Errors
    /// [`ConfigError::MissingProgram`] if there is no `setpriv` in `PATH`.
    pub fn with_kill_on_host_exit(mut self, kill: bool) -> Result<Self, ConfigError> {
        self.spec_mut().limits.setpriv = match kill {
            true => Some(find("setpriv")?),
            false => None,
        };
        Ok(self)
    }

    fn limited(mut self, set: impl FnOnce(&mut Limits)) -> Result<Self, ConfigError> {
        let prlimit = find("prlimit")?;
        let limits = &mut self.spec_mut().limits;
        limits.prlimit = Some(prlimit);
        set(limits);
        Ok(self)
    }
}

fn find(helper: &'static str) -> Result<PathBuf, ConfigError> {
    program::find(OsStr::new(helper)).or(Err(ConfigError::MissingProgram { program: helper }))
}

// === impl Limits ===

impl Limits {
    /// Returns the command line that runs `program` within the limits, without its arguments.
    pub(super) fn command_line(&self, program: &OsStr) -> io::Result<Vec<OsString>> {
        if self.setpriv.is_none() && self.prlimit.is_none() {
            return Ok(vec![program::find(program)?.into()]);
        }
        let mut line: Vec<OsString> = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            line.push(setpriv.into());
            line.extend(["--pdeathsig", "KILL", "--"].map(OsString::from));
        }
        if let Some(prlimit) = &self.prlimit {
            line.push(prlimit.into());
            let cpu = self.cpu_seconds.map(|cpu| (cpu, cpu.saturating_add(1)));
            let both = |limit: Option<u64>| limit.map(|limit| (limit, limit));
            for (name, limit) in [
                ("cpu", cpu),
                ("as", both(self.memory)),
                ("nproc", both(self.processes)),
                ("fsize", both(self.file_size)),
            ] {
                line.extend(limit.map(|(soft, hard)| format!("--{name}={soft}:{hard}").into()));
            }
            line.push("--".into());
        }
        line.push(program::find_executable(program)?.into());
        Ok(line)
    }

    /// Runs `start` on the thread on which a program must be started.
    pub(super) fn on_thread<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self.setpriv {
            None => start(),
            Some(_) => on_lasting_thread(start)?,
        }
    }

    /// Returns the limit that ended a program with this status, if the status shows it.
    ///
    /// A shell turns the signal of its program into an exit code.
    pub(super) fn expired(&self, status: ExitStatus) -> Option<String> {
        let code = status.code();
        let signal = status.signal().or_else(|| Some(code? - 128))?;
        if signal == Signal::XCPU.as_raw() {
            let seconds = self.cpu_seconds?;
            return Some(format!("limit of {seconds} s of CPU time"));
        }
        if signal == Signal::XFSZ.as_raw() {
            let bytes = self.file_size?;
            return Some(format!("limit of {bytes} bytes on a file"));
        }
        None
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs `work` on a thread that lives as long as this process.
///
/// The signal of `setpriv --pdeathsig` is sent when the thread ends that started the program. The
/// threads of a runtime may end before this process does.
fn on_lasting_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    static THREAD: OnceLock<mpsc::Sender<Work>> = OnceLock::new();

    let (sender, result) = mpsc::sync_channel(1);
    let work: Work = Box::new(move || {
        // Received below.
        let _ = sender.send(work());
    });
    let thread = THREAD.get_or_init(|| {
        let (sender, works) = mpsc::channel::<Work>();
        // Without the thread, `works` is dropped, and sending fails.
        let _ = thread::Builder::new()
            .name("toolbooth-start".to_owned())
            .spawn(move || works.into_iter().for_each(|work| work()));
        sender
    });
    let gone = || io::Error::other("the thread that starts programs could not be started");
    thread.send(work).or(Err(gone()))?;
    result.recv().or(Err(gone()))
}
