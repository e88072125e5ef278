//! A server, and the task that keeps its tools in the toolbox.
//!
//! Invariants:
//! 1. The task ends when `close` is true or its sender is dropped, by [`Server::close`],
//!    [`Server::release`] or a drop of the [`Server`]. Then the tools are not in the toolbox.
//! 2. Calls in flight end by themselves, unless `close` is true: their tools hold the connection.
//! 3. A former server with other settings is released by the task, once this one is connected.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use toolbooth::Toolbox;
use toolbooth_mcp::remote::{Installed, RemoteServerBuilder};
use toolbooth_mcp::{RemoteError, RemoteServer};

use super::{UpstreamState, UpstreamStatus};
use crate::config::{Secret, Transport, Upstream};
use crate::guard::Guard;

/// A server of a booth.
pub(super) struct Server {
    server: String,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    close: watch::Sender<bool>,
}

#[derive(Clone)]
enum State {
    Connecting,
    Offered(RemoteServer),
    Failed(Failure),
}

/// Why the tools of a server are not offered.
#[derive(Clone)]
struct Failure {
    summary: &'static str,
    details: String,
}

struct Task {
    name: String,
    upstream: Upstream,
    toolbox: Toolbox,
    guard: Guard,
    former: Option<Server>,
    state: watch::Sender<State>,
    close: watch::Receiver<bool>,
}

/// The waits between attempts for the first connection.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The time after which a connection that was lost is noticed without a call.
const CHECK: Duration = Duration::from_secs(1);

// === impl Server ===

impl Server {
    /// Starts to connect. Once it is connected, it takes the place of `former`.
    pub(super) fn start(
        name: &str,
        upstream: Upstream,
        toolbox: &Toolbox,
        guard: &Guard,
        former: Option<Self>,
    ) -> Self {
        let (state, receiver) = watch::channel(State::Connecting);
        let (close, closed) = watch::channel(false);
        let server = upstream.transport.summary();
        let task = Task {
            name: name.to_owned(),
            upstream,
            toolbox: toolbox.clone(),
            guard: guard.clone(),
            former,
            state,
            close: closed,
        };
        Self {
            server,
            state: receiver,
            task: tokio::spawn(task.run()),
            close,
        }
    }

    /// Waits until it is connected, or the first attempt has failed.
    pub(super) fn first_attempt(&self) -> impl Future<Output = ()> + 'static {
        let mut state = self.state.clone();
        async move {
            let is_over = |state: &State| !matches!(state, State::Connecting);
            // An error: the task has ended.
            let _ = state.wait_for(is_over).await;
        }
    }

    pub(super) fn status(&self, name: &str) -> UpstreamStatus {
        let state = self.state.borrow().clone();
        let mut status = UpstreamStatus::new(name, &self.server);
        let failure = match state {
            State::Connecting => None,
            State::Failed(failure) => {
                status.state = UpstreamState::Down;
                Some(failure)
            }
            State::Offered(server) => {
                let remote = server.status();
                status.state = match remote.is_connected {
                    true => UpstreamState::Connected,
                    false => UpstreamState::Down,
                };
                (status.tools, status.restarts) = (remote.tools, remote.restarts);
                remote.last_error.as_ref().map(Failure::of)
            }
        };
        if let Some(failure) = failure {
            status.last_error = Some(failure.summary.to_owned());
            status.details = Some(failure.details);
        }
        status
    }

    /// Closes the connection, and waits for its end.
    pub(super) async fn close(self) {
        self.close.send_replace(true);
        // The task does not panic.
        let _ = self.task.await;
    }

    /// Removes the tools, and waits until they are gone. Calls in flight keep the connection.
    async fn release(self) {
        drop(self.close);
        // The task does not panic.
        let _ = self.task.await;
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.offer().await {
                Some(Ok((server, installed))) => return self.keep(server, installed).await,
                Some(Err(failure)) => {
                    let (server, error) = (&self.name, &failure.details);
                    tracing::warn!(server, error, "the tools of the server are not offered");
                    self.state.send_replace(State::Failed(failure));
                }
                None => return self.end_former().await,
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                _ = closed(&mut self.close) => return self.end_former().await,
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Connects, and adds the tools to the toolbox. `None` if it is stopped before.
    async fn offer(&mut self) -> Option<Result<(RemoteServer, Installed), Failure>> {
        let connected = tokio::select! {
            connected = builder(&self.name, &self.upstream, &self.guard).connect() => connected,
            _ = closed(&mut self.close) => return None,
        };
        let server = match connected {
            Ok(server) => server,
            Err(error) => return Some(Err(Failure::of(&error))),
        };
        self.end_former().await;
        match server.install(&self.toolbox) {
            Ok(installed) => Some(Ok((server, installed))),
            Err(error) => {
                server.close().await;
                Some(Err(Failure {
                    summary: "its tools cannot be offered",
                    details: error.to_string(),
                }))
            }
        }
    }

    async fn end_former(&mut self) {
        let Some(former) = self.former.take() else {
            return;
        };
        let closes = *self.close.borrow();
        match closes {
            true => Box::pin(former.close()).await,
            false => Box::pin(former.release()).await,
        }
    }

    /// Keeps the server connected until it is stopped.
    async fn keep(mut self, server: RemoteServer, installed: Installed) {
        let tools = server.status().tools;
        tracing::info!(
            server = self.name,
            tools,
            "the tools of the server are offered"
        );
        self.state.send_replace(State::Offered(server.clone()));
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let closes = loop {
            tokio::select! {
                closes = closed(&mut self.close) => break closes,
                _ = check.tick() => {}
            }
            let status = server.status();
            if status.is_connected || status.retry_after.is_some() {
                continue;
            }
            tokio::select! {
                closes = closed(&mut self.close) => break closes,
                // Its error is in the status.
                _ = server.reconnect() => {}
            }
        };
        installed.uninstall();
        if closes {
            server.close().await;
        }
    }
}

/// Waits until the server is stopped. Returns whether it is closed, with its calls.
async fn closed(close: &mut watch::Receiver<bool>) -> bool {
    close.wait_for(|closes| *closes).await.is_ok()
}

fn builder(name: &str, upstream: &Upstream, guard: &Guard) -> RemoteServerBuilder {
    let builder = match &upstream.transport {
        Transport::Stdio {
            program,
            args,
            env,
            inherit_env,
            current_dir,
        } => {
            let args = args.iter().map(Secret::expose);
            let (program, args) = guard.command_line(program, args);
            let mut builder = RemoteServer::stdio(program).with_args(args);
            builder = match inherit_env {
                Some(names) => builder.with_inherited_env(names),
                None => builder.with_inherited_env(std::env::vars_os().map(|(name, _)| name)),
            };
            for (name, value) in env {
                builder = builder.with_env(name, value.expose());
            }
            match current_dir {
                Some(folder) => builder.with_current_dir(folder),
                None => builder,
            }
        }
        Transport::Http {
            url,
            bearer,
            headers,
        } => {
            let mut builder = RemoteServer::http(url.expose());
            if let Some(bearer) = bearer {
                builder = builder.with_bearer(bearer.expose());
            }
            for (name, value) in headers {
                builder = builder.with_header(name, value.expose());
            }
            builder
        }
    };
    builder
        .with_name(name)
        .with_prefix(&upstream.prefix)
        .with_connect_timeout(upstream.connect_timeout)
        .with_trust_annotations(upstream.trust_annotations)
}

// === impl Failure ===

impl Failure {
    fn of(error: &RemoteError) -> Self {
        let mut details = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            details.push_str(": ");
            details.push_str(&error.to_string());
            source = error.source();
        }
        let summary = summary(error);
        Self { summary, details }
    }
}

const fn summary(error: &RemoteError) -> &'static str {
    match error {
        RemoteError::Setting { .. } => "its settings cannot work",
        RemoteError::NotStarted { .. } => "its program could not be started",
        RemoteError::Ended { .. } => "its program ended",
        RemoteError::Disconnected { .. } => "the connection was lost",
        RemoteError::Unreachable { .. } => "it could not be reached",
        RemoteError::Handshake { .. } => "it did not agree on a connection",
        RemoteError::ConnectTimeout { .. } => "no connection was set up in time",
        RemoteError::Tools { .. } => "its list of tools cannot be used",
        _ => "it is away",
    }
}
