//! A network between a process and the server: TCP, with a delay and partitions.
//!
//! It needs neither a user's rights nor a part of the kernel, as network namespaces and `netem` do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::Server;

/// Forwards each connection to the server. During a partition, what was sent waits, as packets that
/// are sent again, and no connection ends. Dropping it loses what is sent from then on.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<Network>,
}

struct Network {
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Carries,
    Partitioned,
    Gone,
}

// === impl Proxy ===

impl Proxy {
    /// Starts a proxy that delays each direction.
    pub(crate) fn start(server: &Server, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let network = Arc::new(Network {
            delay,
            state: Mutex::new(State::Carries),
            changed: Condvar::new(),
        });
        let proxy = Self {
            port: listener.local_addr().expect("an address").port(),
            network: Arc::clone(&network),
        };
        let socket = server.socket();
        thread::spawn(move || {
            for client in listener.incoming() {
                if *network.lock() == State::Gone {
                    return;
                }
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
        self.network.set(match is_partitioned {
            true => State::Partitioned,
            false => State::Carries,
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.set(State::Gone);
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

// === impl Network ===

impl Network {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    /// Waits for the end of a partition. Returns whether packets are carried then.
    fn carries(&self) -> bool {
        let is_partitioned = |state: &mut State| *state == State::Partitioned;
        let state = self.changed.wait_while(self.lock(), is_partitioned);
        *state.expect("no panic") == State::Carries
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
            if !network.carries() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        close();
    });
}
