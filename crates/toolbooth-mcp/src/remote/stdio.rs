//! A program as a server.

use std::process::Stdio;

use rmcp::RoleClient;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::RemoteError;
use super::builder::{Program, Settings};
use super::connection::{Lost, Tap};
use super::error::SharedError;

pub(super) type StdioTransport = AsyncRwTransport<RoleClient, ChildStdout, ChildStdin>;

/// Starts the program. It ends when the transport is dropped.
pub(super) fn start(
    program: &Program,
    settings: &Settings,
    tap: &Tap,
    lost: &Lost,
) -> Result<StdioTransport, RemoteError> {
    let not_started = |error| RemoteError::NotStarted {
        server: settings.name.clone(),
        source: SharedError::io(error),
    };
    let mut command = Command::new(&program.program);
    command
        .args(&program.args)
        .envs(program.env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(folder) = &program.current_dir {
        command.current_dir(folder);
    }
    let mut child = command.spawn().map_err(not_started)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(not_started(std::io::Error::other("it has no pipes")));
    };
    let (ended, lost) = (tap.ended.clone(), lost.clone());
    let server = settings.name.clone();
    tokio::spawn(async move {
        ended.cancelled().await;
        let _ = child.start_kill();
        let status = child.wait().await.ok();
        lost.set(RemoteError::Ended {
            server,
            status: status.map(|status| status.to_string().into()),
            stderr: "".into(),
        });
    });
    Ok(AsyncRwTransport::new(stdout, stdin))
}
