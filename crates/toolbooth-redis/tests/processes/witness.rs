//! Counts the calls of all processes from outside of them.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than any wait of a test that passes.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A socket to which each call connects while it runs. The kernel closes the connections of a
/// process that is killed.
///
/// A call goes on once its connection was accepted. So the connections that are open when another
/// one is accepted are calls that run at the same time.
pub(crate) struct Witness {
    dir: TempDir,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    open: Vec<UnixStream>,
    most: usize,
    starts: Vec<Instant>,
    /// Whether calls end as soon as they have started.
    ends_all: bool,
}

// === impl Witness ===

impl Witness {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("witness")).expect("a socket");
        let seen = Arc::<Mutex<Seen>>::default();
        let witness = Self {
            dir,
            seen: Arc::clone(&seen),
        };
        // Ends with the program.
        thread::spawn(move || {
            for call in listener.incoming() {
                seen.lock().expect("no panic").add(call.expect("a call"));
            }
        });
        witness
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("witness")
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().expect("no panic");
        seen.sweep();
        seen
    }

    /// Returns how many calls run now.
    pub(crate) fn running(&self) -> usize {
        self.seen().open.len()
    }

    /// Returns how many calls ran at once at most, since the last time this was called.
    pub(crate) fn take_most(&self) -> usize {
        let mut seen = self.seen();
        let running = seen.open.len();
        std::mem::replace(&mut seen.most, running)
    }

    pub(crate) fn starts(&self) -> Vec<Instant> {
        self.seen().starts.clone()
    }

    /// Ends the calls that run, however long they take by themselves.
    pub(crate) fn end_calls(&self) {
        let seen = self.seen();
        seen.open.iter().for_each(end);
    }

    /// Ends the calls that run, and from now on each one that starts.
    pub(crate) fn end_all_calls(&self) {
        let mut seen = self.seen();
        seen.ends_all = true;
        seen.open.iter().for_each(end);
    }

    /// Waits until as many calls run.
    #[track_caller]
    pub(crate) fn wait_for_running(&self, calls: usize) {
        wait_until("the calls that run", || self.running() == calls);
    }

    /// Waits until as many calls more have started.
    #[track_caller]
    pub(crate) fn wait_for_starts(&self, more: usize) {
        let all = self.starts().len() + more;
        wait_until("calls that start", || self.starts().len() >= all);
    }
}

/// Ends a call. It runs until it closes its connection.
fn end(call: &UnixStream) {
    // It may have ended by itself.
    let _ = call.shutdown(Shutdown::Write);
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < TOO_LONG, "{what} did not come");
        thread::sleep(Duration::from_millis(1));
    }
}

// === impl Seen ===

impl Seen {
    /// Forgets the calls that have ended: the end of a call before its permit was released.
    fn sweep(&mut self) {
        self.open.retain_mut(|call| match call.read(&mut [0]) {
            Err(error) => error.kind() == ErrorKind::WouldBlock,
            Ok(_) => false,
        });
    }

    fn add(&mut self, mut call: UnixStream) {
        self.starts.push(Instant::now());
        self.sweep();
        call.set_nonblocking(true).expect("a socket");
        // A call that was cancelled meanwhile does not read it.
        if call.write_all(&[1]).is_ok() {
            if self.ends_all {
                end(&call);
            }
            self.open.push(call);
        }
        self.most = self.most.max(self.open.len());
    }
}
