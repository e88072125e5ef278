//! The page and its feed over HTTP.

mod body;

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tower_service::Service;

pub use self::body::TimelineBody;
use crate::{Recorder, page};

/// Serves the page of a recorder, and its updates.
///
/// It is a `tower::Service` of `http::Request`s with any body, so that every server mounts it.
/// Clones share their limit of clients.
///
/// | Path | Response to GET and HEAD |
/// |---|---|
/// | `/` | The page, which shows calls as they happen. |
/// | `/feed.json` | [`Timeline::to_json`](crate::Timeline::to_json). |
/// | `/events` | The changes as server-sent events, all calls first. |
///
/// Other paths are 404, other methods 405. The page finds its feed below its own path, so the
/// service may be nested below a prefix, which the server removes as axum's `nest_service` does.
///
/// ```
/// use axum::Router;
/// use toolbooth_timeline::{Recorder, TimelineService};
///
/// let recorder = Recorder::new(); // also a sink of an `EventsLayer`
/// let app = Router::new().nest_service("/timeline", TimelineService::new(recorder));
/// # let _: Router = app;
/// ```
///
/// # Access
/// The service has no access control: mount it for the operators alone, behind a layer that
/// authenticates or on a loopback address. Without
/// [`with_contents`](Recorder::with_contents) of the recorder it shows names, sizes and times, but
/// no arguments, results and texts of errors.
///
/// # Updates
/// A client of `/events` costs one look at the recorder each 250 ms, however many calls changed,
/// and at most 500 calls in memory. Changes are read when the client can receive them: a slow
/// client receives fewer and larger updates. By default at most 16 clients are served, further ones
/// receive 503: see [`with_max_clients`](Self::with_max_clients).
///
/// A stream ends within 250 ms of [`close`](Self::close), and when all clones of the service are
/// dropped. Call `close` when a server shuts down gracefully, because it waits for its responses.
///
/// # Errors
/// None: an error is a response.
#[derive(Clone)]
pub struct TimelineService {
    recorder: Recorder,
    state: Arc<State>,
}

/// What the streams refer to.
#[derive(Debug)]
struct State {
    clients: Arc<Semaphore>,
    is_closed: AtomicBool,
}

const MAX_CLIENTS: usize = 16;

// === impl TimelineService ===

impl TimelineService {
    /// Creates a service that shows the calls of a recorder.
    #[must_use]
    pub fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            state: Arc::new(State::new(MAX_CLIENTS)),
        }
    }

    /// Sets how many clients receive updates at once. 16 by default.
    #[must_use]
    pub fn with_max_clients(mut self, clients: usize) -> Self {
        self.state = Arc::new(State::new(clients));
        self
    }

    /// Ends the streams of all clients, and rejects new ones with 503.
    ///
    /// The page and `/feed.json` are served as before.
    pub fn close(&self) {
        self.state.is_closed.store(true, Ordering::Relaxed);
    }

    fn respond(&self, method: &Method, path: &str) -> Response<TimelineBody> {
        let is_known = matches!(path, "/" | "/feed.json" | "/events");
        if !is_known {
            return status(StatusCode::NOT_FOUND);
        }
        if method != Method::GET && method != Method::HEAD {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        let is_head = method == Method::HEAD;
        match path {
            "/feed.json" => full(
                "application/json",
                self.recorder.snapshot().to_json(),
                is_head,
            ),
            "/events" => self.events(is_head),
            _ => full("text/html; charset=utf-8", page::live(), is_head),
        }
    }

    fn events(&self, is_head: bool) -> Response<TimelineBody> {
        let permit = Arc::clone(&self.state.clients).try_acquire_owned();
        let body = match permit {
            Ok(permit) if !self.state.is_closed() => match is_head {
                true => TimelineBody::empty(),
                false => TimelineBody::events(&self.recorder, &self.state, permit),
            },
            _ => {
                let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
                let seconds = HeaderValue::from_static("5");
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                return response;
            }
        };
        with_type(Response::new(body), "text/event-stream")
    }
}

impl<B> Service<Request<B>> for TimelineService {
    type Response = Response<TimelineBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = self.respond(request.method(), request.uri().path());
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        ready(Ok(response))
    }
}

impl fmt::Debug for TimelineService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimelineService")
            .field("recorder", &self.recorder)
            .field("free_clients", &self.state.clients.available_permits())
            .field("is_closed", &self.state.is_closed())
            .finish()
    }
}

// === impl State ===

impl State {
    fn new(clients: usize) -> Self {
        Self {
            clients: Arc::new(Semaphore::new(clients.min(Semaphore::MAX_PERMITS))),
            is_closed: AtomicBool::new(false),
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// The headers of every response.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, page::SERVED_POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

fn status(status: StatusCode) -> Response<TimelineBody> {
    let mut response = Response::new(TimelineBody::empty());
    *response.status_mut() = status;
    response
}

fn full(kind: &'static str, text: String, is_head: bool) -> Response<TimelineBody> {
    let length = HeaderValue::from(text.len());
    let body = match is_head {
        true => TimelineBody::empty(),
        false => TimelineBody::full(text),
    };
    let mut response = with_type(Response::new(body), kind);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

fn with_type(mut response: Response<TimelineBody>, kind: &'static str) -> Response<TimelineBody> {
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
