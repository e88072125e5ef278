//! The command `run`: listeners around a [`Booth`], until a signal or the client ends them.

mod admin;
mod calls;
mod edges;
mod error;
mod http;
mod log_limit;
mod logs;
mod reload;
mod signals;
mod stdio;
mod tenants;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use toolbooth::events::TracingSink;
use toolbooth::{DrainReport, EventsLayer, Name, ShutdownLayer};
use toolbooth_redis::SharedLimits;
use toolbooth_timeline::{Recorder, TimelineService};

pub use self::error::ServeError;
pub use self::logs::{LogGuard, init as init_logs};

use self::admin::{Metrics, Readiness};
use self::calls::Calls;
use self::edges::{Edges, front_settings, serve_admin, serve_clients};
use self::http::Ends;
use self::reload::{Cause, FileWatch, Reload};
use self::signals::{Signal, Signals};
use self::tenants::Tenants;
use crate::booth::Booth;
use crate::config::Config;
use crate::guard::Guard;

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// All calls have ended, each with its response.
    Clean,
    /// Work was abandoned: it did not end within the limits, or a second signal came.
    Abandoned,
}

/// Serves a booth until it ends: by SIGTERM or SIGINT, or by the end of its standard input if it is
/// served there.
///
/// Clients are served once each server is connected or its first attempt has failed, and after 5 s
/// at the latest, unless there is no tool at all. Those of servers that are connected later are
/// added then, and clients are notified.
///
/// The calls that run at the end have `[shutdown]` to end; new ones are rejected. A second signal
/// ends the process at once. SIGHUP, and a change of the file at `path`, apply the file again.
///
/// # Errors
/// If an address is in use, or the tools or their limits are wrong.
pub async fn run(config: Config, path: Option<PathBuf>, guard: Guard) -> Result<Ended, ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let mut edges = Edges::bind(&config).await?;
    let mut events = EventsLayer::new(TracingSink::new());
    let mut opening = Booth::builder(config.clone())
        .with_events(TracingSink::new())
        .with_guard(guard);
    let store = match &config.limits {
        None => None,
        Some(limits) => {
            let options = limits.options().with_events(TracingSink::new());
            let shared = SharedLimits::connect(limits.url.expose(), options).await?;
            opening = opening.with_store(shared.store(), limits.name.clone());
            Some((shared.store().clone(), Name::from(limits.name.clone())))
        }
    };
    let shutdown = ShutdownLayer::new();
    let readiness = Readiness::new(shutdown.clone());
    let mut timeline = None;
    let mut ends = Vec::new();
    if let Some((listener, admin)) = edges.admin.take().zip(config.admin.as_ref()) {
        // Calls are recorded only if there is an operator who can read it.
        let (metrics, recorder) = (Metrics::new()?, Recorder::new());
        let served = TimelineService::new(recorder.clone());
        timeline = Some(served.clone());
        events = events.with_sink(metrics.sink.clone()).with_sink(recorder);
        opening = opening.with_events(metrics.sink);
        tokio::spawn(admin::upkeep(metrics.handle.clone()));
        let readiness = Arc::clone(&readiness);
        ends.push(serve_admin(
            listener,
            admin,
            readiness,
            metrics.handle,
            served,
        ));
    }

    if !config.upstreams.is_empty() {
        tracing::info!(
            servers = config.upstreams.len(),
            "the servers are being connected"
        );
    }
    let booth = opening.start()?;
    readiness.opened(booth.clone());
    tokio::select! {
        () = booth.first_tools(START_LIMIT) => {}
        () = signals.end() => return Ok(Ended::Clean),
    }
    let calls = Calls {
        toolbox: booth.toolbox(),
        shutdown,
        events,
        store,
    };
    let tenants = Tenants::new(
        calls.clone(),
        front_settings(&config.listen),
        &config.tenants,
    );
    let tenants = Arc::new(tenants);
    let open = TaskTracker::new();
    if let Some(listener) = edges.http.take() {
        let tenants = Arc::clone(&tenants);
        ends.push(serve_clients(
            listener,
            &config.listen,
            tenants,
            open.clone(),
        ));
    }
    let running = Running {
        booth,
        calls,
        tenants,
        timeline,
        open,
        ends,
    };
    running.until_end(config, path, signals).await
}

/// How long clients wait for the tools of all servers: many read the list once.
const START_LIMIT: Duration = Duration::from_secs(5);

/// What runs, and ends in this order.
struct Running {
    booth: Booth,
    calls: Calls,
    tenants: Arc<Tenants>,
    /// If there is an operator.
    timeline: Option<TimelineService>,
    /// The responses that are not complete.
    open: TaskTracker,
    ends: Vec<Ends>,
}

/// The time in which responses are sent after the last call has ended.
const SEND_LIMIT: Duration = Duration::from_secs(2);

// === impl Running ===

impl Running {
    async fn until_end(
        self,
        config: Config,
        path: Option<PathBuf>,
        mut signals: Signals,
    ) -> Result<Ended, ServeError> {
        let mut watch = path.as_deref().and_then(watch);
        let shutdown = config.shutdown;
        let mut client = stdio::serve(config.listen.stdio, &self.calls);
        let mut reload = path.map(|path| Reload::new(path, config));
        let mut changes = self.booth.toolbox().changes();
        loop {
            let cause = tokio::select! {
                signal = signals.next() => match signal {
                    Signal::End => break,
                    Signal::Reload => Cause::Signal,
                },
                () = changed(&mut watch) => Cause::Change,
                () = client.ended() => break,
                _ = changes.changed() => {
                    self.tenants.update_views();
                    continue;
                }
            };
            match &mut reload {
                Some(reload) => tokio::select! {
                    () = reload.reload(cause, &self.booth, &self.tenants) => {}
                    // The file may be a pipe, or on a disk that does not respond.
                    () = signals.end() => break,
                },
                None => tracing::info!("there is no file to read again"),
            }
        }
        let grace = reload.as_ref().map_or(shutdown, Reload::shutdown);
        tokio::select! {
            ended = self.end(grace, client) => Ok(ended),
            () = signals.end() => {
                tracing::warn!("a second signal ends the process at once");
                Ok(Ended::Abandoned)
            }
        }
    }

    async fn end(self, times: crate::config::Shutdown, client: stdio::Client) -> Ended {
        let in_flight = self.calls.shutdown.in_flight();
        // `join` polls the shutdown first: the line is true when it is read.
        let (report, ()) = futures_util::future::join(
            self.calls.shutdown.shutdown(times.grace, times.limit),
            async { tracing::info!(in_flight, "the process ends, new calls are rejected") },
        )
        .await;
        // A call is over before its response is sent.
        self.open.close();
        if tokio::time::timeout(SEND_LIMIT, self.open.wait())
            .await
            .is_err()
        {
            tracing::warn!(open = self.open.len(), "responses are not complete");
        }
        if let Some(timeline) = &self.timeline {
            timeline.close();
        }
        self.tenants.close();
        let ends = self.ends.iter().map(|ends| ends.end(SEND_LIMIT));
        tokio::join!(
            futures_util::future::join_all(ends),
            client.close(SEND_LIMIT, in_flight > 0)
        );
        let closed = self.booth.close(times.limit).await;
        log(&report, closed)
    }
}

fn log(report: &DrainReport, servers_ended: bool) -> Ended {
    let DrainReport {
        completed,
        cancelled,
        abandoned,
        orphaned,
        ..
    } = *report;
    let ended = match (abandoned, orphaned, servers_ended) {
        (0, 0, true) => Ended::Clean,
        _ => Ended::Abandoned,
    };
    tracing::info!(
        completed,
        cancelled,
        abandoned,
        orphaned,
        servers_ended,
        "the calls have ended"
    );
    ended
}

fn watch(path: &std::path::Path) -> Option<FileWatch> {
    let watch = FileWatch::new(path);
    if let Err(error) = &watch {
        tracing::warn!(%error, "changes of the file go unnoticed: send SIGHUP");
    }
    watch.ok()
}

async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
