//! The tools of a toolbox as an axum router.
//!
//! | Route | Response |
//! |---|---|
//! | `POST /tools/{name}` | Calls the tool. The body is the arguments: a JSON object, or empty for `{}`. |
//! | `GET /tools` | `{"tools": [...]}`: all descriptions, in the JSON of [`ToolSpec`](toolbooth::ToolSpec), sorted by name. |
//! | `GET /tools/{name}` | The description of one tool. |
//!
//! Nest the router to put a prefix before these paths.
//!
//! # Responses as JSON
//! A call that returns has the status 200 and the JSON of [`Collected`](toolbooth::Collected) with
//! the id of the call: `{"call_id": "call-1", "contents": [{"type": "text", "text": "3 files"}]}`.
//! It is also 200 with `"is_error": true` if the tool worked and reports that it did not succeed.
//! Every failure is a [problem](crate::problem), with the partial result of the call.
//!
//! A streaming response is collected, up to [a limit](ToolRouter::with_collect_limit). A longer one
//! ends the call.
//!
//! # Responses as server-sent events
//! A client that sends `Accept: text/event-stream` receives what the call publishes while it runs.
//! The data of each event is JSON:
//!
//! | Event | Data |
//! |---|---|
//! | `progress` | A report of progress: `done`, `total`, `message`. |
//! | `partial` | An item that the tool [emitted](toolbooth::CallContext::emit), in the JSON of [`Content`](toolbooth::Content). |
//! | `snapshot` | A snapshot of the whole result, in place of the last one. |
//! | `heartbeat` | `{}`: the tool is active. At most one a second. |
//! | `lagged` | `{"missed": 3}`: the client was slow, and this number of these four was dropped here. |
//! | `item` | An item of a streaming response. |
//! | `result` | The last event of a call that returned: the same as the response as JSON. Its `contents` follow the items that were sent. |
//! | `error` | The last event of a call that failed: the [problem](crate::problem). |
//!
//! The first five have `"attempt": 2` if an attempt after the first published them. Exactly one
//! `result` or `error` ends the stream; a body without it was interrupted. The stream cannot be
//! resumed: events have no ids.
//!
//! The head of the response is sent with the first event, or after the [keep-alive
//! interval](ToolRouter::with_keep_alive). Until then, a call that fails has the status of its
//! error, and the body of a problem. So rejections are the same with and without events.
//!
//! # Clients that disconnect or do not read
//! A client that disconnects ends its call: the future of the call is dropped, permits are released
//! and hooks run. A call whose response is a stream of events runs on a task of its own, so that
//! its limits expire whether or not the client reads. Queues are bounded: updates are dropped and
//! reported by `lagged`, and a streaming response waits for the client, up to [a
//! limit](ToolRouter::with_stall_timeout).
//!
//! # Panics of tools
//! They are caught, and are the errors of their calls.

mod accept;
mod collect;
mod events;
mod routes;

use std::fmt;
use std::time::Duration;

use axum::Router;
use toolbooth::{BoxError, CatchPanicLayer, ToolCall, ToolError, ToolOutput, Toolbox};
use tower::Layer;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::arguments::DEFAULT_BODY_TIMEOUT;

/// The minimum time between two comments of a stream without events.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Anything that calls tools, boxed.
type Tools = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

/// Makes an axum router of a toolbox. See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use axum::Router;
/// use toolbooth::{ConcurrencyLimitLayer, ShutdownLayer, TimeoutLayer, Toolbox, tool_fn};
/// use toolbooth_axum::ToolRouter;
/// use tower::ServiceBuilder;
///
/// let search = tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 files"));
/// let toolbox = Toolbox::builder().tool("search", search).build()?;
/// let limited = ServiceBuilder::new()
///     .layer(ShutdownLayer::new())
///     .layer(TimeoutLayer::new(Duration::from_secs(30)))
///     .layer(ConcurrencyLimitLayer::new(16))
///     .service(toolbox.clone());
/// let tools = ToolRouter::with_service(toolbox, limited).with_max_body(64 * 1024).into_router();
/// let app: Router = Router::new().nest("/api", tools);
/// # let _ = app;
/// # Ok::<_, toolbooth::BoxError>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until `into_router`"]
pub struct ToolRouter {
    toolbox: Toolbox,
    tools: Tools,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    max_body: usize,
    body_timeout: Duration,
    collect_limit: usize,
    keep_alive: Duration,
    queued_events: usize,
    stall: Duration,
}

/// What the routes share.
struct Shared {
    toolbox: Toolbox,
    tools: Tools,
    settings: Settings,
}

// === impl ToolRouter ===

impl ToolRouter {
    /// Creates the routes of a toolbox. Layers that the toolbox has apply, and no others.
    pub fn new(toolbox: Toolbox) -> Self {
        Self::with_service(toolbox.clone(), toolbox)
    }

    /// Creates the routes of a toolbox whose calls go through a service: the toolbox with layers
    /// around it. The descriptions are those of the toolbox.
    pub fn with_service<S>(toolbox: Toolbox, service: S) -> Self
    where
        S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + Send + 'static,
        S::Future: Send + 'static,
    {
        let tools = CatchPanicLayer::new().layer(service);
        Self {
            toolbox,
            tools: BoxCloneSyncService::new(tools),
            settings: Settings::default(),
        }
    }

    /// Sets the maximum length of the body of a request in bytes. The default is 2 MiB.
    ///
    /// The values in memory take up to 20 times as much. A longer body is rejected with 413.
    pub const fn with_max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// Sets the time in which the body of a request must arrive. The default is 30 s.
    ///
    /// A request whose body takes longer is rejected with 408. No call has begun then.
    pub const fn with_body_timeout(mut self, limit: Duration) -> Self {
        self.settings.body_timeout = limit;
        self
    }

    /// Sets the maximum size in bytes of a streaming response that is collected for a response as
    /// JSON. The default is 8 MiB.
    ///
    /// It is the sum of the [sizes](toolbooth::Content::size) of its items, and 64 bytes for each.
    /// A longer response ends the call with 500 and the kind `response_too_large`; the problem has
    /// the items that were collected. A response that is not a stream has no limit here.
    pub const fn with_collect_limit(mut self, bytes: usize) -> Self {
        self.settings.collect_limit = bytes;
        self
    }

    /// Sets the time after which a stream without events sends a comment, at least 100 ms. The
    /// default is 15 s.
    ///
    /// It is also the time after which the head of such a response is sent.
    pub fn with_keep_alive(mut self, interval: Duration) -> Self {
        self.settings.keep_alive = interval.max(MIN_KEEP_ALIVE);
        self
    }

    /// Sets how many updates of a call are queued for a client that reads events slowly, at least
    /// 1. The default is 256, as for [`Updates`](toolbooth::Updates).
    pub const fn with_queued_events(mut self, capacity: usize) -> Self {
        self.settings.queued_events = if capacity == 0 { 1 } else { capacity };
        self
    }

    /// Sets for how long the next item of a streaming response waits for a client that does not
    /// read. Then the call ends. The default is 60 s.
    ///
    /// The client may have 16 items, and what its connection buffers, before an item waits.
    pub const fn with_stall_timeout(mut self, limit: Duration) -> Self {
        self.settings.stall = limit;
        self
    }

    /// Makes the router, for an application with any state.
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        routes::router(Shared {
            toolbox: self.toolbox,
            tools: self.tools,
            settings: self.settings,
        })
    }
}

impl fmt::Debug for ToolRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolRouter")
            .field("toolbox", &self.toolbox)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 2 * 1024 * 1024,
            body_timeout: DEFAULT_BODY_TIMEOUT,
            collect_limit: 8 * 1024 * 1024,
            keep_alive: Duration::from_secs(15),
            queued_events: 256,
            stall: Duration::from_secs(60),
        }
    }
}
