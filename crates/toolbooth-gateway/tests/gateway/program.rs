//! The program, run in a folder of its own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A folder for one test, which is removed at its end.
pub(crate) struct Folder(PathBuf);

/// What a run of the program printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("toolbooth-gateway-{}-{next}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    /// A folder with this `booth.toml`.
    pub(crate) fn with(text: &str) -> Self {
        let folder = Self::new();
        std::fs::write(folder.path().join("booth.toml"), text).expect("a file for the test");
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the program in this folder, with no variables but `PATH`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolbooth"));
        command
            .args(args)
            .current_dir(&self.0)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program with its output and its errors on one terminal. Returns what is shown.
    pub(crate) fn run_on_terminal(&self, args: &[&str]) -> String {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let mut terminal = File::from(openpt(flags).expect("a terminal"));
        grantpt(&terminal)
            .and_then(|()| unlockpt(&terminal))
            .expect("its other end");
        let path = ptsname(&terminal, Vec::new())
            .expect("a path")
            .into_string();
        let open = || {
            File::options()
                .write(true)
                .open(path.as_deref().expect("text"))
        };
        let mut command = self.command(args);
        command
            .stdout(open().expect("opened"))
            .stderr(open().expect("opened"));
        let mut child = command.spawn().expect("the program runs");
        // This process has the other end open in it.
        drop(command);
        let mut shown = Vec::new();
        // It ends with an error when no process has the other end.
        let _closed = terminal.read_to_end(&mut shown);
        child.wait().expect("it ends");
        String::from_utf8(shown).expect("text")
    }

    /// Runs the program.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args)
            .output()
            .expect("the program runs")
            .into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// === impl Ran ===

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("the output is text"),
            err: String::from_utf8(output.stderr).expect("the errors are text"),
        }
    }
}
