//! What the handles of a server share: its connection and the list of its tools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::RemoteStatus;
use super::link::{Attempt, Link, Streak};
use super::refresh::{Refresh, refresh};
use crate::remote::RemoteError;
use crate::remote::builder::Settings;
use crate::remote::connection::Connection;
use crate::remote::list::{self, Tools};
use crate::remote::stderr::Stderr;

/// The maximum wait for the end of a connection that is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Shared {
    settings: Arc<Settings>,
    state: Mutex<State>,
    tools: watch::Sender<Arc<Tools>>,
    runtime: Handle,
    /// Ends an attempt to connect.
    closed: CancellationToken,
    me: Weak<Self>,
}

struct State {
    link: Link,
    streak: Streak,
    restarts: u64,
    /// Whether the server had sessions when it was connected last. Forgotten if an attempt fails:
    /// the server may be another one.
    has_sessions: bool,
    last_error: Option<RemoteError>,
    /// When the last connection was lost, until there is another.
    lost_at: Option<Instant>,
    /// The instructions of the last connection.
    instructions: Option<Arc<str>>,
    /// The current connection, and those on which calls are still in flight.
    connections: Vec<Weak<Connection>>,
    /// The standard error of the program that was started last.
    stderr: StderrSlot,
}

/// Where an attempt to connect leaves the standard error of its program.
pub(crate) type StderrSlot = Arc<Mutex<Option<Stderr>>>;

// === impl Shared ===

impl Shared {
    /// Connects for the first time.
    pub(super) async fn connect(settings: Settings) -> Result<Arc<Self>, RemoteError> {
        let settings = Arc::new(settings);
        let stderr = StderrSlot::default();
        let (connection, tools) = open(&settings, &stderr, false).await?;
        let connection = Arc::new(connection);
        let shared = Arc::new_cyclic(|me| Self {
            settings,
            state: Mutex::new(State {
                link: Link::Connected(Arc::clone(&connection)),
                streak: Streak::default(),
                restarts: 0,
                has_sessions: connection.has_sessions(),
                last_error: None,
                lost_at: None,
                instructions: connection.instructions(),
                connections: vec![Arc::downgrade(&connection)],
                stderr,
            }),
            tools: watch::Sender::new(Arc::new(tools)),
            runtime: Handle::current(),
            closed: CancellationToken::new(),
            me: Weak::clone(me),
        });
        shared.follow(&connection);
        Ok(shared)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the tools as they are now.
    pub(super) fn tools(&self) -> Arc<Tools> {
        Arc::clone(&self.tools.borrow())
    }

    /// Returns the tools, with notifications of their changes. They end with the server.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Tools>> {
        self.tools.subscribe()
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the connection. If there is none, connects, unless the backoff lasts.
    ///
    /// Calls that come while an attempt is made wait for it. Dropping the future leaves the attempt
    /// running.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, RemoteError> {
        let mut attempt = {
            let mut state = self.lock();
            state.notice_loss(&self.settings);
            match &state.link {
                Link::Connected(connection) => return Ok(Arc::clone(connection)),
                Link::Connecting(attempt) => attempt.clone(),
                Link::Away(until) if *until > Instant::now() => {
                    return Err(state.away(&self.settings, *until));
                }
                Link::Away(_) => {
                    let attempt = self.begin(&state);
                    state.link = Link::Connecting(attempt.clone());
                    attempt
                }
                Link::Closed => return Err(self.closed_error()),
            }
        };
        match attempt.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(self.closed_error())),
            // The runtime shuts down.
            Err(_) => Err(self.closed_error()),
        }
    }

    /// Uses the connection for no more calls, since it failed one. Calls in flight stay on it.
    pub(crate) fn retire(&self, connection: &Arc<Connection>, error: &RemoteError) {
        let mut state = self.lock();
        if matches!(&state.link, Link::Connected(current) if Arc::ptr_eq(current, connection)) {
            state.lose(&self.settings, connection.since().elapsed(), error.clone());
        }
    }

    pub(super) fn set_tools(&self, tools: Tools) {
        self.tools.send_if_modified(|current| {
            let is_changed = **current != tools;
            if is_changed {
                *current = Arc::new(tools);
            }
            is_changed
        });
    }

    pub(super) fn set_error(&self, error: RemoteError) {
        self.lock().last_error = Some(error);
    }

    pub(super) fn status(&self) -> RemoteStatus {
        let mut state = self.lock();
        state.notice_loss(&self.settings);
        let connection = match &state.link {
            Link::Connected(connection) => Some(connection),
            _ => None,
        };
        let retry_after = match &state.link {
            Link::Away(until) => Some(until.saturating_duration_since(Instant::now())),
            _ => None,
        };
        RemoteStatus {
            is_connected: connection.is_some(),
            retry_after: retry_after.filter(|after| !after.is_zero()),
            restarts: state.restarts,
            last_error: state.last_error.clone(),
            tools: self.tools.borrow().len(),
            in_flight: connection.map_or(0, |connection| connection.in_flight()),
            protocol: connection.and_then(|connection| connection.protocol()),
        }
    }

    pub(super) fn instructions(&self) -> Option<Arc<str>> {
        self.lock().instructions.clone()
    }

    /// Returns the error of a call, if there is no connection now.
    pub(super) fn away(&self) -> Option<RemoteError> {
        let mut state = self.lock();
        state.notice_loss(&self.settings);
        match &state.link {
            Link::Connected(_) => None,
            Link::Connecting(_) => Some(state.away(&self.settings, Instant::now())),
            Link::Away(until) => Some(state.away(&self.settings, *until)),
            Link::Closed => Some(self.closed_error()),
        }
    }

    pub(super) fn stderr_tail(&self) -> String {
        let slot = Arc::clone(&self.lock().stderr);
        let stderr = slot.lock().unwrap_or_else(PoisonError::into_inner);
        stderr.as_ref().map(Stderr::text).unwrap_or_default()
    }

    pub(super) async fn close(&self) {
        self.closed.cancel();
        let (previous, connections) = {
            let mut state = self.lock();
            let previous = std::mem::replace(&mut state.link, Link::Closed);
            (previous, std::mem::take(&mut state.connections))
        };
        let mut finished = Vec::new();
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.lost().set(self.closed_error());
            finished.push(connection.finished().clone());
        }
        drop(previous);
        // It takes longer only if the system does not end a process.
        let _ = timeout(CLOSE_TIMEOUT, async {
            for finished in finished {
                finished.cancelled().await;
            }
        })
        .await;
    }

    /// Begins an attempt to connect.
    fn begin(&self, state: &State) -> Attempt {
        let (sender, attempt) = watch::channel(None);
        let settings = Arc::clone(&self.settings);
        let stderr = Arc::clone(&state.stderr);
        let has_sessions = state.has_sessions;
        let (me, closed) = (Weak::clone(&self.me), self.closed.clone());
        let connect = async move {
            let opened = tokio::select! {
                biased;
                () = closed.cancelled() => return,
                opened = open(&settings, &stderr, has_sessions) => opened,
            };
            if let Some(shared) = me.upgrade() {
                let result = shared.opened(opened);
                drop(shared);
                sender.send_replace(Some(result));
            }
        };
        self.runtime.spawn(connect.in_current_span());
        attempt
    }

    /// Records the result of an attempt to connect.
    fn opened(
        &self,
        opened: Result<(Connection, Tools), RemoteError>,
    ) -> Result<Arc<Connection>, RemoteError> {
        let mut state = self.lock();
        if matches!(state.link, Link::Closed) {
            return Err(self.closed_error());
        }
        match opened {
            Ok((connection, tools)) => {
                let connection = Arc::new(connection);
                state.link = Link::Connected(Arc::clone(&connection));
                state
                    .connections
                    .retain(|earlier| earlier.strong_count() > 0);
                state.connections.push(Arc::downgrade(&connection));
                state.restarts += 1;
                state.has_sessions = connection.has_sessions();
                state.lost_at = None;
                state.instructions = connection.instructions();
                drop(state);
                self.follow(&connection);
                self.set_tools(tools);
                tracing::info!(server = %self.settings.name, "connected to a server again");
                Ok(connection)
            }
            Err(error) => {
                state.streak.failed();
                state.has_sessions = false;
                let until = state.fail(&self.settings, error);
                Err(state.away(&self.settings, until))
            }
        }
    }

    /// Starts the task that refreshes the list of tools, and notices the loss of the connection.
    fn follow(&self, connection: &Arc<Connection>) {
        let refreshed = Refresh::new(connection, Weak::clone(&self.me));
        self.runtime.spawn(refresh(refreshed).in_current_span());
    }

    fn closed_error(&self) -> RemoteError {
        RemoteError::Closed {
            server: self.settings.name.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

// === impl State ===

impl State {
    /// Records that the connection is lost, if it is.
    fn notice_loss(&mut self, settings: &Settings) {
        if let Link::Connected(connection) = &self.link
            && let Some(error) = connection.lost().get()
        {
            let (lasted, error) = (connection.since().elapsed(), error.clone());
            self.lose(settings, lasted, error);
        }
    }

    fn lose(&mut self, settings: &Settings, lasted: Duration, error: RemoteError) {
        self.streak.lost(lasted);
        self.fail(settings, error);
    }

    /// Waits for the backoff. Returns when the next attempt may be made.
    fn fail(&mut self, settings: &Settings, error: RemoteError) -> Instant {
        let (min, max) = (settings.min_backoff, settings.max_backoff);
        let backoff = self.streak.backoff(min, max, fastrand::f64());
        tracing::warn!(
            server = %settings.name,
            error = &error as &dyn std::error::Error,
            ?backoff,
            "no connection to a server"
        );
        let now = Instant::now();
        let until = now + backoff;
        self.link = Link::Away(until);
        self.lost_at.get_or_insert(now);
        self.last_error = Some(error);
        until
    }

    /// Returns the error of a call that is not made before `until`.
    fn away(&self, settings: &Settings, until: Instant) -> RemoteError {
        let server = settings.name.clone();
        let source = self.last_error.clone();
        let source = source.unwrap_or_else(|| RemoteError::Closed {
            server: server.clone(),
        });
        let now = Instant::now();
        RemoteError::Away {
            server,
            since: self.lost_at.map_or(Duration::ZERO, |at| now - at),
            retry_after: until.saturating_duration_since(now),
            source: Box::new(source),
        }
    }
}

/// Connects, and reads the list of tools, within the limit.
async fn open(
    settings: &Settings,
    stderr: &StderrSlot,
    has_sessions: bool,
) -> Result<(Connection, Tools), RemoteError> {
    let limit = settings.connect_timeout;
    let opened = timeout(limit, async {
        let connection = Connection::open(settings, stderr, has_sessions).await?;
        let tools = list::fetch(&connection, settings).await?;
        Ok((connection, tools))
    });
    opened.await.unwrap_or_else(|_| {
        let stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        Err(RemoteError::ConnectTimeout {
            server: settings.name.clone(),
            limit,
            stderr: stderr.as_ref().map(Stderr::tail).unwrap_or_default(),
        })
    })
}
