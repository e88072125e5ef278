use std::time::Duration;

use toolbooth_core::Moment;

use super::health::{FIRST_PROBE_PAUSE, MAX_FAILURES, MAX_PROBE_PAUSE};

/// How the commands of one limit fare: they may fail although the store answers others.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// How many failed in a row.
    failures: u32,
    /// After a command that failed, when the next one is sent.
    retry_at: Option<Moment>,
}

/// The pause after a command that failed.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(10);

// === impl Attempts ===

impl Attempts {
    pub(crate) const fn new() -> Self {
        Self {
            failures: 0,
            retry_at: None,
        }
    }

    /// Returns whether the limit holds without the store, because its commands fail. Then the next
    /// one is a probe.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// Returns when the next command may be sent, if not now.
    pub(crate) fn retry_at(&self, now: Moment) -> Option<Moment> {
        self.retry_at.filter(|retry_at| now < *retry_at)
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    pub(crate) fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.failures.checked_sub(MAX_FAILURES) {
            None => RETRY_PAUSE,
            // Doubled up to the longest, which is less than 2^8 of the first.
            Some(probes) => (FIRST_PROBE_PAUSE * (1 << probes.min(8))).min(MAX_PROBE_PAUSE),
        };
        self.retry_at = now.after(pause);
    }

    /// Ends the pause.
    pub(crate) const fn retry_now(&mut self) {
        self.retry_at = None;
    }
}
