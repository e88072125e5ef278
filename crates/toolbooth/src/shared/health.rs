use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use toolbooth_core::Moment;

/// Whether the store answers, and how many processes use it.
#[derive(Debug)]
pub(super) struct Health {
    is_away: AtomicBool,
    /// How many commands failed in a row.
    failures: AtomicU32,
    processes: AtomicU64,
}

/// How many processes a store has seen during a lease. A store that has lost its data sees them
/// again one after the other, and a smaller number would give each a larger share.
#[derive(Debug, Default)]
pub(super) struct Seen {
    most: u64,
    /// The most since then is less.
    less: Option<(Moment, u64)>,
}

/// After how many failures in a row the store counts as away.
pub(super) const MAX_FAILURES: u32 = 3;

/// The first pause between two probes of a store that is away, and the longest.
pub(super) const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(100);
pub(super) const MAX_PROBE_PAUSE: Duration = Duration::from_secs(1);

// === impl Health ===

impl Health {
    pub(super) const fn new() -> Self {
        Self {
            is_away: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            processes: AtomicU64::new(1),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::SeqCst)
    }

    pub(super) fn set_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    /// Records a reply. Returns whether the store was away.
    pub(super) fn record_reply(&self) -> bool {
        self.failures.store(0, Ordering::SeqCst);
        self.is_away.load(Ordering::SeqCst) && self.is_away.swap(false, Ordering::SeqCst)
    }

    /// Records a failed command. Returns whether the store is away since then.
    pub(super) fn record_failure(&self) -> bool {
        let failures = self
            .failures
            .fetch_add(1, Ordering::SeqCst)
            .saturating_add(1);
        failures >= MAX_FAILURES && !self.is_away.swap(true, Ordering::SeqCst)
    }

    pub(super) fn processes(&self) -> u64 {
        self.processes.load(Ordering::SeqCst)
    }

    /// Returns whether the number has changed.
    pub(super) fn set_processes(&self, processes: u64) -> bool {
        let processes = processes.max(1);
        self.processes.swap(processes, Ordering::SeqCst) != processes
    }
}

// === impl Seen ===

impl Seen {
    /// Records how many processes the store has seen. Returns how many count: the most during the
    /// lease.
    pub(super) fn record(&mut self, processes: u64, now: Moment, lease: Duration) -> u64 {
        if processes >= self.most {
            self.most = processes;
            self.less = None;
            return self.most;
        }
        let (since, most) = self.less.unwrap_or((now, 0));
        let most = most.max(processes);
        self.less = Some((since, most));
        if now.since(since) >= lease {
            *self = Self { most, less: None };
        }
        self.most
    }
}
