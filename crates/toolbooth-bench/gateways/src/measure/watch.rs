//! What the upstream recorded, and what the system reports of a process.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};

use crate::Error;

/// A time of the machine's monotonic clock, which all processes share, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The log that the upstreams of one contender write.
#[derive(Clone, Debug)]
pub struct Log(PathBuf);

/// A line of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Moment,
    pub process: Process,
    pub event: String,
    pub id: String,
}

/// A process, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

/// What a process used until now.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub processor: Duration,
    pub resident: u64,
}

// === impl Moment ===

impl Moment {
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default())
    }

    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

// === impl Log ===

impl Log {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let entry = |line: &str| {
            let mut parts = line.splitn(4, ' ');
            Some(Entry {
                at: Moment(parts.next()?.parse().ok()?),
                process: Process(parts.next()?.parse().ok()?),
                event: parts.next()?.to_owned(),
                id: parts.next()?.to_owned(),
            })
        };
        text.lines().filter_map(entry).collect()
    }

    /// The upstreams that were started, in order.
    pub fn processes(&self) -> Vec<Process> {
        let entries = self.entries();
        entries
            .iter()
            .filter(|entry| entry.event == "process")
            .map(|entry| entry.process)
            .collect()
    }

    /// Waits for an entry.
    pub async fn wait(&self, limit: Duration, is: impl Fn(&Entry) -> bool) -> Result<Entry, Error> {
        let begun = Instant::now();
        loop {
            if let Some(entry) = self.entries().into_iter().find(&is) {
                return Ok(entry);
            }
            if begun.elapsed() > limit {
                return Err("the upstream recorded no such event".into());
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// The time from `begun` until the upstream of the call `id` was notified: a cancelled
    /// call, the end of its input or of its process.
    pub async fn notified(&self, begun: Moment, id: &str, limit: Duration) -> Option<Duration> {
        let started = |entry: &Entry| entry.event == "started" && entry.id == id;
        let process = self.entries().into_iter().find(started)?.process;
        while Moment::now().since(begun) < limit {
            let notified = self.entries().into_iter().find(|entry| {
                entry.process == process
                    && (entry.event == "eof" || (entry.event == "cancelled" && entry.id == id))
            });
            if let Some(entry) = notified {
                return Some(entry.at.since(begun));
            }
            if !process.is_alive() {
                return Some(Moment::now().since(begun));
            }
            sleep(Duration::from_millis(2)).await;
        }
        None
    }
}

// === impl Process ===

impl Process {
    /// The fields of its status, from its state on. Empty if it is gone.
    fn status(self) -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        fields.split_whitespace().map(str::to_owned).collect()
    }

    pub fn is_alive(self) -> bool {
        self.status()
            .first()
            .is_some_and(|state| state != "Z" && state != "X")
    }

    pub fn kill(self) {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        if let (true, Some(pid)) = (self.is_alive(), pid) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    pub fn usage(self) -> Usage {
        let status = self.status();
        let number = |index: usize| -> u64 {
            status
                .get(index)
                .and_then(|field| field.parse().ok())
                .unwrap_or_default()
        };
        // Ticks of 10 ms and pages of 4 KiB, as on every Linux that this runs on.
        Usage {
            processor: Duration::from_millis((number(11) + number(12)) * 10),
            resident: number(21) * 4096,
        }
    }
}
