//! A program as a server, over its standard input and output.
//!
//! One task owns the program. It notices its exit, records why the connection is lost, and ends the
//! process group after the transport was dropped: it waits a moment for the exit of the program,
//! whose input has ended, and then sends SIGTERM and SIGKILL.

mod transport;

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbooth::process::{ChildProgram, INHERITED_VARIABLES, UTF_8};
use toolbooth_core::Name;
use tracing::Instrument as _;

pub(super) use self::transport::StdioTransport;
use super::RemoteError;
use super::builder::{Program, Settings};
use super::connection::{Lost, Tap};
use super::error::SharedError;
use super::stderr::Stderr;

/// The variables that set the encoding of characters.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// The time in which a program may exit by itself after the connection is lost or closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// The time between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// The wait for the exit of a program that has closed its output, and for the end of the output of
/// a program that has exited. Another process may hold its pipe open.
const DRAIN: Duration = Duration::from_millis(250);

/// The program of a connection, from its start until its group has ended.
struct Supervisor {
    server: Name,
    program: ChildProgram,
    stderr: Stderr,
    tap: Tap,
    lost: Lost,
}

/// Starts the program. It ends when the transport is dropped, and then `finished` is cancelled.
pub(super) fn start(
    program: &Program,
    settings: &Settings,
    tap: &Tap,
    lost: &Lost,
    finished: CancellationToken,
) -> Result<(StdioTransport, Stderr), RemoteError> {
    let server = settings.name.clone();
    let (child, pipes) = match ChildProgram::start(command(program)) {
        Ok(started) => started,
        Err(error) => {
            return Err(RemoteError::NotStarted {
                server,
                source: SharedError::new(error),
            });
        }
    };
    let stderr = Stderr::read(pipes.stderr, server.clone());
    let supervisor = Supervisor {
        server: server.clone(),
        program: child,
        stderr: stderr.clone(),
        tap: tap.clone(),
        lost: lost.clone(),
    };
    // Cancelled at the end of the task, also if its runtime shuts down.
    let finished = finished.drop_guard();
    tokio::spawn(
        async move {
            supervisor.run().await;
            drop(finished);
        }
        .in_current_span(),
    );
    let transport = StdioTransport::new(server, pipes.stdout, pipes.stdin, tap, lost);
    Ok((transport, stderr))
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.program);
    command.args(&program.args).env_clear();
    let mut has_locale = false;
    let inherited = INHERITED_VARIABLES.iter().map(std::ffi::OsString::from);
    let inherited = inherited.chain(program.inherited_env.iter().cloned());
    let inherited = inherited.filter_map(|name| Some((std::env::var_os(&name)?, name)));
    let inherited = inherited.map(|(value, name)| (name, value));
    for (name, value) in inherited.chain(program.env.iter().cloned()) {
        has_locale |= LOCALE.iter().any(|locale| name == *locale);
        command.env(name, value);
    }
    if !has_locale {
        command.env("LANG", UTF_8);
    }
    if let Some(folder) = &program.current_dir {
        command.current_dir(folder);
    }
    command
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(mut self) {
        tokio::select! {
            // Its output has ended, or the connection is closed here.
            () = self.tap.ended.cancelled() => {}
            _ = self.program.exited() => {
                // What the pipe holds is read first.
                let _ = timeout(DRAIN, self.tap.ended.cancelled()).await;
            }
        }
        let exited = timeout(DRAIN, self.program.exited()).await;
        if exited.is_ok() {
            // It has nothing to write any more, but others of its group may.
            let _ = timeout(DRAIN, self.stderr.ended()).await;
        }
        self.lose(exited.ok().and_then(Result::ok));
        // Its input has ended as well, when the transport was dropped.
        let _ = timeout(EXIT_GRACE, self.program.exited()).await;
        self.program.end(KILL_GRACE).await;
        self.stderr.close();
    }

    /// Records why the connection is lost.
    fn lose(&self, status: Option<ExitStatus>) {
        let server = self.server.clone();
        self.lost.set(match status {
            Some(status) => RemoteError::Ended {
                server,
                status: Some(status.to_string().into()),
                stderr: self.stderr.tail(),
            },
            None => RemoteError::Disconnected {
                server,
                message: "its output ended".into(),
            },
        });
    }
}
