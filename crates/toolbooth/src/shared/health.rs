use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Whether the store answers, and how many processes use it.
#[derive(Debug)]
pub(super) struct Health {
    is_away: AtomicBool,
    /// How many commands failed in a row.
    failures: AtomicU32,
    processes: AtomicU64,
}

/// After how many failures in a row the store counts as away.
const MAX_FAILURES: u32 = 3;

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
