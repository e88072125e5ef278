//! A network between a process and the server: TCP, with a delay and partitions.
//!
//! It needs neither a user's rights nor a part of the kernel, as network namespaces and `netem` do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::Server;

/// Forwards each connection to the server. During a partition, what was sent waits, as packets that
/// are sent again, and no connection ends.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<Network>,
}

struct Network {
    delay: Duration,
    is_partitioned: AtomicBool,
}

// === impl Proxy ===

impl Proxy {
    /// Starts a proxy that delays each direction.
    pub(crate) fn start(server: &Server, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let network = Arc::new(Network {
            delay,
            is_partitioned: AtomicBool::new(false),
        });
        let proxy = Self {
            port: listener.local_addr().expect("an address").port(),
            network: Arc::clone(&network),
        };
        let socket = server.socket();
        // Ends with the program.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                client.set_nodelay(true).expect("a socket");
                // Without a server, the connection is closed.
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                let clone = |stream: &UnixStream| stream.try_clone().expect("a socket");
                let client_clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
                let (close, from, to) = (client_clone(&client), client_clone(&client), client);
                let close_server = clone(&server);
                forward(&network, from, clone(&server), move || {
                    let _ = close_server.shutdown(Shutdown::Both);
                });
                forward(&network, server, to, move || {
                    let _ = close.shutdown(Shutdown::Both);
                });
            }
        });
        proxy
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set_partitioned(&self, is_partitioned: bool) {
        self.network
            .is_partitioned
            .store(is_partitioned, Ordering::SeqCst);
    }
}

/// Forwards one direction, and then closes what it was forwarded to.
fn forward(
    network: &Arc<Network>,
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    close: impl FnOnce() + Send + 'static,
) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    let delay = network.delay;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let packet = (Instant::now() + delay, buffer[..read].to_vec());
            if sender.send(packet).is_err() {
                return;
            }
        }
    });
    let network = Arc::clone(network);
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            while network.is_partitioned.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        close();
    });
}
