//! An HTTP API on its own thread and runtime, as a third party might run it. It rejects more than
//! 10 calls in any second.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::repository;

/// The maximum number of calls in any second.
const CALLS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// The calls that the API counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
}

struct Shared {
    files: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The times of the calls within the last second.
    window: VecDeque<Instant>,
    served: Served,
}

// === impl Api ===

impl Api {
    /// Starts the API on a free port of the loopback interface.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            files: repository::files()?,
            state: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(listener, &serving, stopped));
        Ok(Self {
            address,
            shared,
            stop,
            thread,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the API, and returns its counts.
    pub(crate) fn stop(self) -> io::Result<Served> {
        // Fails if the server has already stopped. Then `join` returns its error.
        let _ = self.stop.send(());
        self.thread
            .join()
            .map_err(|_panic| io::Error::other("the API panicked"))??;
        Ok(self.shared.state().served)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut stopped => return Ok(()),
        };
        let shared = Arc::clone(shared);
        let service = service_fn(move |request| {
            let response = shared.respond(&request);
            async move { response }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("the API lost a connection: {error}");
            }
        });
    }
}

// === impl Shared ===

impl Shared {
    /// Handles `GET /files/N`, which returns the path and the size of a file.
    fn respond(&self, request: &Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (status, body) = if self.admit(Instant::now()) {
            let number = request.uri().path().strip_prefix("/files/");
            match number.and_then(|number| self.files.get(number.parse::<usize>().ok()?)) {
                Some(file) => {
                    let bytes = std::fs::metadata(file)?.len();
                    let found = json!({ "file": repository::relative(file), "bytes": bytes });
                    (StatusCode::OK, found.to_string())
                }
                None => (StatusCode::NOT_FOUND, String::new()),
            }
        } else {
            (StatusCode::TOO_MANY_REQUESTS, String::new())
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        Ok(response)
    }

    /// Returns whether a call at `now` is one of at most 10 in the second before.
    fn admit(&self, now: Instant) -> bool {
        let mut state = self.state();
        while state
            .window
            .front()
            .is_some_and(|&then| now - then >= SECOND)
        {
            state.window.pop_front();
        }
        if state.window.len() >= CALLS {
            state.served.rejected += 1;
            return false;
        }
        state.window.push_back(now);
        state.served.accepted += 1;
        true
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
