//! How do processes share one quota? Four of them on a Redis server, of which one is killed.
//!
//! ```text
//! cargo run -p toolbooth-examples --features fleet --example fleet
//! ```
//!
//! An API has a quota of 20 calls a second and accepts 6 calls at once. Four processes call it as
//! often as they may. Once one of them is killed, its permits come back at the end of its lease.
//! Then the others use the whole quota. The table shows it, and the timeline of another process,
//! whose calls then wait for shorter times. The run exits with 1 if a limit was exceeded or a
//! permit was lost.
//!
//! It starts a `redis-server` (Debian package `redis-server`) on a socket of its own. The variable
//! `REDIS_SERVER` selects another program, such as `valkey-server`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]
#![expect(
    clippy::disallowed_types,
    reason = "the time of real processes is not that of a runtime"
)]

mod picture;
mod process;
mod server;

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use toolbooth::BoxError;
use toolbooth_redis::RedisStore;

use crate::picture::Picture;
use crate::server::Server;

const PROCESSES: usize = 4;
const PERMITS: usize = 6;
const PER_SECOND: u32 = 20;
const BURST: u32 = 4;
const LEASE: Duration = Duration::from_secs(1);

/// When a process is killed, and for how long the others are watched then.
const KILL_AT: Duration = Duration::from_millis(1_500);
const WATCHED: Duration = Duration::from_millis(2_500);

/// What a process reports.
enum Event {
    /// Its name in the store.
    Named(String),
    /// A call has started, at this time since 1970 by the clock of this machine.
    Started(Duration),
    Ended,
    /// A line of its timeline.
    Timeline(String),
}

// === impl Event ===

impl Event {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(' ') {
            Some(("start", micros)) => Self::Started(Duration::from_micros(micros.parse().ok()?)),
            Some(("|", line)) => Self::Timeline(line.to_owned()),
            _ if text == "end" => Self::Ended,
            _ => Self::Named(text.to_owned()),
        })
    }
}

/// Starts this program once more as a process of the fleet.
fn start(number: usize, url: &str, output: &PipeWriter) -> Result<Child, BoxError> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--process", &number.to_string(), url])
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .spawn()?;
    Ok(child)
}

/// Reads the events of all processes from one pipe, in the order in which they happened.
fn read(input: PipeReader) -> Receiver<(usize, Event)> {
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(Result::ok) {
            let Some((number, event)) = line.split_once(' ') else {
                continue;
            };
            let Some(event) = Event::parse(event) else {
                continue;
            };
            let sent = number.parse().map(|number| sender.send((number, event)));
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    events
}

/// Records events until `end`, and samples the permits on the server.
async fn watch(
    picture: &mut Picture,
    events: &Receiver<(usize, Event)>,
    store: &RedisStore,
    end: Instant,
) -> Result<(), BoxError> {
    while Instant::now() < end {
        let next = picture.next_sample().min(end);
        match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok((process, event)) => picture.record(process, event),
            Err(_) => {
                let status = store.status("api").await?;
                let held = status.holders.into_iter();
                let held = held.map(|holder| (holder.holder.process.to_string(), holder.held));
                picture.sample(held.collect());
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, _, number, url] = &arguments[..] {
        return runtime.block_on(process::run(number, url));
    }

    let server = Server::start()?;
    let (input, output) = std::io::pipe()?;
    let events = read(input);
    let mut fleet = Vec::new();
    for number in 0..PROCESSES {
        fleet.push(start(number, &server.url(), &output)?);
    }
    let started = Instant::now();
    let mut picture = Picture::new(started);
    let watched = runtime.block_on(async {
        let store = RedisStore::connect(&server.url()).await?;
        watch(&mut picture, &events, &store, started + KILL_AT).await?;
        // The process is killed in the middle of a call.
        while picture.running(0) == 0 {
            let (process, event) = events.recv()?;
            picture.record(process, event);
        }
        fleet[0].kill()?;
        fleet[0].wait()?;
        picture.killed();
        watch(&mut picture, &events, &store, Instant::now() + WATCHED).await
    });
    // They end when their input does.
    for process in &mut fleet {
        drop(process.stdin.take());
    }
    for process in &mut fleet {
        if watched.is_err() {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
    watched?;
    // Its writers are gone: the events end. Calls that were aborted report no end.
    drop(output);
    for (process, event) in events {
        if matches!(event, Event::Timeline(_)) {
            picture.record(process, event);
        }
    }
    picture.print();
    picture.check()
}
