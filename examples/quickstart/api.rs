//! An HTTP API that somebody else might run: on a thread and a runtime of its own, and with no
//! patience for more than 10 calls in any second.

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

/// How many calls it answers in any second.
const CALLS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// What it did, by its own count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) answered: usize,
    pub(crate) refused: usize,
}

struct Shared {
    files: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the calls of the last second came.
    window: VecDeque<Instant>,
    served: Served,
}

// === impl Api ===

impl Api {
    /// Starts it on a free port of the loopback interface.
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

    /// Stops it, and says what it did.
    pub(crate) fn stop(self) -> io::Result<Served> {
        // It fails where the server has stopped by itself, whose error comes next.
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
        let answer = service_fn(move |request| {
            let answer = shared.answer(&request);
            async move { answer }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                eprintln!("the API lost a connection: {error}");
            }
        });
    }
}

// === impl Shared ===

impl Shared {
    /// `GET /files/N` tells the path and the size of a file.
    fn answer(&self, request: &Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (status, body) = if self.admit(Instant::now()) {
            let number = request.uri().path().strip_prefix("/files/");
            match number.and_then(|number| self.files.get(number.parse::<usize>().ok()?)) {
                Some(file) => {
                    let bytes = std::fs::metadata(file)?.len();
                    let found = json!({ "file": repository::shown(file), "bytes": bytes });
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

    /// Whether a call that comes now is one of at most 10 in the second that ends now.
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
            state.served.refused += 1;
            return false;
        }
        state.window.push_back(now);
        state.served.answered += 1;
        true
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
