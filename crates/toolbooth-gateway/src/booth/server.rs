//! A server, and the task that keeps its tools in the toolbox.
//!
//! Invariants:
//! 1. The tools are in the toolbox while the task holds `Offered`, whose drop removes them.
//! 2. The task ends when `stop` is cancelled, by [`Server::close`] or a drop of the [`Server`].
//! 3. A former server with other settings is stopped by the task, once this one is connected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbooth::Toolbox;
use toolbooth_mcp::{RemoteError, RemoteServer};

use super::{UpstreamState, UpstreamStatus};
use crate::config::{Secret, Transport, Upstream};

/// A server of a booth.
pub(super) struct Server {
    server: String,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    /// Stops the task when this is dropped.
    _stop_on_drop: DropGuard,
}

#[derive(Clone)]
enum State {
    Connecting,
    Connected(RemoteServer),
    Failed(Arc<RemoteError>),
}

/// The waits between attempts for the first connection.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

struct Task {
    name: String,
    upstream: Upstream,
    toolbox: Toolbox,
    former: Option<Server>,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

/// The tools of a server in the toolbox, which are removed when this is dropped.
struct Offered {
    toolbox: Toolbox,
    names: Vec<String>,
}

// === impl Server ===

impl Server {
    /// Starts to connect. Once it is connected, it takes the place of `former`.
    pub(super) fn start(
        name: &str,
        upstream: Upstream,
        toolbox: &Toolbox,
        former: Option<Self>,
    ) -> Self {
        let (state, receiver) = watch::channel(State::Connecting);
        let stop = CancellationToken::new();
        let server = upstream.transport.summary();
        let task = Task {
            name: name.to_owned(),
            upstream,
            toolbox: toolbox.clone(),
            former,
            state,
            stop: stop.clone(),
        };
        Self {
            server,
            state: receiver,
            task: tokio::spawn(task.run()),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Waits until it is connected, or the first attempt has failed.
    pub(super) fn first_attempts(&self) -> impl Future<Output = ()> + 'static {
        let mut state = self.state.clone();
        async move {
            // The task has ended: it is not connected any more.
            let _ = state
                .wait_for(|state| !matches!(state, State::Connecting))
                .await;
        }
    }

    pub(super) fn status(&self, name: &str) -> UpstreamStatus {
        let state = self.state.borrow().clone();
        let mut status = UpstreamStatus::new(name, &self.server);
        match state {
            State::Connecting => {}
            State::Connected(server) => {
                status.state = UpstreamState::Connected;
                status.tools = server.tools().len();
            }
            State::Failed(error) => {
                status.state = UpstreamState::Down;
                status.set_error(&error);
            }
        }
        status
    }

    /// Closes the connection, and waits for its end.
    pub(super) async fn close(self) {
        self.stop.cancel();
        // The task does not panic.
        let _ = self.task.await;
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self) {
        let Some(server) = self.connected().await else {
            if let Some(former) = self.former.take() {
                Box::pin(former.close()).await;
            }
            return;
        };
        if let Some(former) = self.former.take() {
            Box::pin(former.close()).await;
        }
        let offered = Offered::new(&self.name, &server, &self.toolbox);
        self.state.send_replace(State::Connected(server));
        self.stop.cancelled().await;
        drop(offered);
    }

    /// Connects, with a backoff. `None` if it is stopped before.
    async fn connected(&self) -> Option<RemoteServer> {
        let mut backoff = MIN_BACKOFF;
        loop {
            let connected = tokio::select! {
                connected = builder(&self.name, &self.upstream).connect() => connected,
                () = self.stop.cancelled() => return None,
            };
            let error = match connected {
                Ok(server) => return Some(server),
                Err(error) => error,
            };
            tracing::warn!(server = self.name, %error, "the server is not connected");
            self.state.send_replace(State::Failed(Arc::new(error)));
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = self.stop.cancelled() => return None,
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }
}

fn builder(name: &str, upstream: &Upstream) -> toolbooth_mcp::remote::RemoteServerBuilder {
    let builder = match &upstream.transport {
        Transport::Stdio {
            program,
            args,
            env,
            current_dir,
            ..
        } => {
            let mut builder =
                RemoteServer::stdio(program).with_args(args.iter().map(Secret::expose));
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

// === impl Offered ===

impl Offered {
    fn new(name: &str, server: &RemoteServer, toolbox: &Toolbox) -> Self {
        let mut names = Vec::new();
        for (spec, tool) in server.tools() {
            let tool_name = spec.name().to_owned();
            match toolbox.insert(spec, tool) {
                Ok(()) => names.push(tool_name),
                Err(error) => {
                    tracing::warn!(server = name, %error, "a tool is not offered");
                }
            }
        }
        Self {
            toolbox: toolbox.clone(),
            names,
        }
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        for name in &self.names {
            self.toolbox.remove(name);
        }
    }
}
