//! Accepts connections, and bounds what each may cost.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An address that accepts connections of HTTP/1.
///
/// | bound | consequence |
/// |---|---|
/// | `max_connections` | 503, and the connection is closed |
/// | `header_timeout` until a head is complete, also while a connection is idle | it is closed |
/// | 64 KiB and 100 fields of a head | 431, and it is closed |
/// | 60 s in which the client reads nothing | it is closed |
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// With the port that the system chose for port 0.
    address: SocketAddr,
    settings: ConnectionSettings,
    ends: Ends,
}

/// What responds to the requests of an address.
pub(crate) trait Respond: Send + Sync + 'static {
    fn respond(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + '_;
}

/// The bounds of the connections of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionSettings {
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
}

/// Ends the connections of a listener. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// Accepts no further connection, and lets each complete the response that it sends.
    stop: CancellationToken,
    /// Closes all connections.
    close: CancellationToken,
    connections: TaskTracker,
}

const MAX_HEAD_BYTES: usize = 64 * 1_024;
const MAX_HEADERS: usize = 100;
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait after an error of the system, such as too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

// === impl Listener ===

impl Listener {
    pub(crate) async fn bind(
        address: SocketAddr,
        settings: ConnectionSettings,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self {
            address: socket.local_addr()?,
            socket,
            settings,
            ends: Ends::default(),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Serves connections until it is stopped.
    pub(crate) async fn serve(self, to: impl Respond) {
        let to = Arc::new(to);
        let slots = Arc::new(Semaphore::new(self.settings.max_connections));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.ends.stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                reject(&stream);
                continue;
            };
            let served = serve(stream, Arc::clone(&to), self.settings, self.ends.clone());
            self.ends.connections.spawn(async move {
                served.await;
                drop(slot);
            });
        }
    }
}

/// Answers without waiting: a client that does not read costs nothing.
fn reject(stream: &TcpStream) {
    // An error means that the client is gone, or reads nothing.
    if let Err(error) = stream.try_write(OVERLOADED) {
        tracing::debug!(%error, "a rejected connection was not notified");
    }
}

async fn serve<R: Respond>(
    stream: TcpStream,
    to: Arc<R>,
    settings: ConnectionSettings,
    ends: Ends,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let io = TokioIo::new(Box::pin(stream));
    let service = service_fn(|request| async {
        let response = to.respond(request).await;
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends.close.cancelled() => return,
        () = ends.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = ends.close.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

// === impl Ends ===

impl Ends {
    /// Stops accepting, waits for at most `limit` until the responses are complete, and closes the
    /// connections.
    pub(crate) async fn end(&self, limit: Duration) {
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(limit, self.connections.wait())
            .await
            .is_err()
        {
            self.close.cancel();
            self.connections.wait().await;
        }
    }
}
