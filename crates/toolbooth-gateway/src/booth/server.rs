//! A server, and the task that keeps its tools in the toolbox.
//!
//! Invariants:
//! 1. The task ends when `stop` is set, by [`Server::close`] or [`Server::stop`], or when the
//!    [`Server`] is dropped. Then the tools are not in the toolbox, unless the task has returned
//!    them.
//! 2. Calls in flight end by themselves, unless it is closed: their tools hold the connection.
//! 3. A former server with other settings hands its tools over once this one is connected. They are
//!    replaced at once.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use toolbooth::{ToolError, Toolbox};
use toolbooth_mcp::remote::{Installed, RemoteServerBuilder};
use toolbooth_mcp::{RemoteError, RemoteServer};

use super::{UpstreamState, UpstreamStatus};
use crate::config::{Secret, Transport, Upstream};
use crate::guard::Guard;

/// A server of a booth.
pub(super) struct Server {
    server: String,
    prefix: String,
    state: watch::Receiver<State>,
    task: JoinHandle<Option<Installed>>,
    stop: watch::Sender<Stop>,
}

/// How the task of a server is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Not,
    /// Its tools are removed.
    Release,
    /// Its tools are removed, and its calls fail.
    Close,
    /// Its tools are returned.
    HandOver,
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
    /// The error, unless it is that of the toolbox.
    error: Option<RemoteError>,
    /// When the first attempt failed, and when the next one is made.
    since: Instant,
    until: Instant,
}

/// Why a server is not offered now.
enum Unoffered {
    Failed(Failure),
    Stopped(Stop),
}

struct Task {
    name: String,
    upstream: Upstream,
    toolbox: Toolbox,
    guard: Guard,
    former: Option<Server>,
    state: watch::Sender<State>,
    stop: watch::Receiver<Stop>,
}

/// The waits between attempts for the first connection.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The time after which a call of a server that is being connected may be tried again.
const SOON: Duration = Duration::from_secs(1);
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
        let (stop, stopped) = watch::channel(Stop::Not);
        let (server, prefix) = (upstream.transport.summary(), upstream.prefix.clone());
        let task = Task {
            name: name.to_owned(),
            upstream,
            toolbox: toolbox.clone(),
            guard: guard.clone(),
            former,
            state,
            stop: stopped,
        };
        Self {
            server,
            prefix,
            state: receiver,
            task: tokio::spawn(task.run()),
            stop,
        }
    }

    /// Returns the error of a call of a tool that is not known, if this server may have it: the
    /// name has its prefix, and it is not connected.
    pub(super) fn unknown(&self, name: &str, tool: &str) -> Option<ToolError> {
        if !tool.starts_with(&self.prefix) {
            return None;
        }
        match &*self.state.borrow() {
            State::Connecting => {
                let reason = format!("the server `{name}` is being connected");
                Some(ToolError::circuit_open(SOON).with_reason(reason))
            }
            State::Failed(failure) => Some(failure.rejection(name)),
            State::Offered(server) => server.away(),
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
        self.stop(Stop::Close).await;
    }

    /// Stops the task, and returns the tools if it hands them over.
    async fn stop(self, stop: Stop) -> Option<Installed> {
        self.stop.send_replace(stop);
        // The task does not panic.
        self.task.await.ok().flatten()
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self) -> Option<Installed> {
        let (mut backoff, since) = (MIN_BACKOFF, Instant::now());
        loop {
            let stop = match self.offer().await {
                Ok((server, installed)) => return self.keep(server, installed).await,
                Err(Unoffered::Stopped(stop)) => stop,
                Err(Unoffered::Failed(mut failure)) => {
                    let (server, error) = (&self.name, &failure.details);
                    tracing::warn!(server, error, "the tools of the server are not offered");
                    failure.since = since;
                    failure.until = Instant::now() + backoff;
                    self.state.send_replace(State::Failed(failure));
                    tokio::select! {
                        () = tokio::time::sleep(backoff) => Stop::Not,
                        stop = stopped(&mut self.stop) => stop,
                    }
                }
            };
            if stop != Stop::Not {
                return self.end_former(stop).await;
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Connects, and adds the tools to the toolbox, in place of those of the former server.
    async fn offer(&mut self) -> Result<(RemoteServer, Installed), Unoffered> {
        let connected = tokio::select! {
            connected = builder(&self.name, &self.upstream, &self.guard).connect() => connected,
            stop = stopped(&mut self.stop) => return Err(Unoffered::Stopped(stop)),
        };
        let server = connected.map_err(|error| Unoffered::Failed(Failure::of(&error)))?;
        let installed = match self.end_former(Stop::HandOver).await {
            Some(former) => former.replace_by(&server),
            None => server.install(&self.toolbox),
        };
        match installed {
            Ok(installed) => Ok((server, installed)),
            Err(error) => {
                server.close().await;
                let mut failure = Failure::new("its tools cannot be offered");
                failure.details = error.to_string();
                Err(Unoffered::Failed(failure))
            }
        }
    }

    /// Ends the former server. Returns its tools if it hands them over.
    async fn end_former(&mut self, stop: Stop) -> Option<Installed> {
        Box::pin(self.former.take()?.stop(stop)).await
    }

    /// Keeps the server connected until it is stopped.
    async fn keep(mut self, server: RemoteServer, installed: Installed) -> Option<Installed> {
        let tools = server.status().tools;
        tracing::info!(
            server = self.name,
            tools,
            "the tools of the server are offered"
        );
        self.state.send_replace(State::Offered(server.clone()));
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = loop {
            tokio::select! {
                stop = stopped(&mut self.stop) => break stop,
                _ = check.tick() => {}
            }
            let status = server.status();
            if status.is_connected || status.retry_after.is_some() {
                continue;
            }
            tokio::select! {
                stop = stopped(&mut self.stop) => break stop,
                // Its error is in the status.
                _ = server.reconnect() => {}
            }
        };
        if stop == Stop::HandOver {
            return Some(installed);
        }
        installed.uninstall();
        if stop == Stop::Close {
            server.close().await;
        }
        None
    }
}

/// Waits until the server is stopped. Returns how.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    let stop = stop.wait_for(|stop| *stop != Stop::Not).await;
    // Its handle was dropped.
    stop.map_or(Stop::Release, |stop| *stop)
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
    fn new(summary: &'static str) -> Self {
        let now = Instant::now();
        Self {
            summary,
            details: summary.to_owned(),
            error: None,
            since: now,
            until: now,
        }
    }

    fn of(error: &RemoteError) -> Self {
        let mut failure = Self::new(error.summary());
        failure.details = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            failure.details.push_str(": ");
            failure.details.push_str(&error.to_string());
            source = error.source();
        }
        failure.error = Some(error.clone());
        failure
    }

    /// Returns the error of a call of the server.
    fn rejection(&self, server: &str) -> ToolError {
        let now = Instant::now();
        let (since, until) = (now - self.since, self.until.saturating_duration_since(now));
        match self.error.clone() {
            Some(error) => error.rejection(since, until),
            None => {
                let reason = format!("of the server `{server}`: {}", self.summary);
                ToolError::circuit_open(until).with_reason(reason)
            }
        }
    }
}
