//! A link as between the hosts of one data centre: a process that forwards TCP connections to the
//! socket of the server, and delays each direction. Its processor time is not that of a contender.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the time of threads is not that of a runtime"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::server::Server;

/// The first argument of the process.
pub(crate) const ARGUMENT: &str = "relay";

/// The delay of each direction. Threads and sockets add to it: see the round trip that is printed.
const DELAY: Duration = Duration::from_micros(250);
/// How late a thread may wake that sleeps: so the rest is waited for in a loop.
const LATE: Duration = Duration::from_micros(80);

/// Dropping it ends the process.
pub(crate) struct Relay {
    child: Child,
    port: u16,
}

// === impl Relay ===

impl Relay {
    pub(crate) fn start(server: &Server) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(server.socket())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        let mut relay = Self { child, port: 0 };
        BufReader::new(output).read_line(&mut port)?;
        relay.port = port.trim().parse()?;
        Ok(relay)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forwards connections, and prints the port for them.
pub(crate) fn run(socket: &str) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for client in listener.incoming() {
        let (client, server) = (client?, UnixStream::connect(socket)?);
        client.set_nodelay(true)?;
        let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
        forward(from_client, server, |server| {
            server.shutdown(Shutdown::Both)
        });
        forward(from_server, client, |client: TcpStream| {
            client.shutdown(Shutdown::Both)
        });
    }
    Ok(())
}

/// Forwards one direction. What is read while something waits is not delayed any longer by it.
fn forward<W: Write + Send + 'static>(
    mut from: impl Read + Send + 'static,
    mut to: W,
    close: fn(W) -> io::Result<()>,
) {
    let (sender, packets) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let packet = (Instant::now() + DELAY, buffer[..read].to_vec());
            if sender.send(packet).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in packets {
            wait_until(due);
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = close(to);
    });
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if let Some(sleep) = left.checked_sub(LATE) {
        thread::sleep(sleep);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}
