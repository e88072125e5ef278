use std::time::Duration;

use toolbooth_core::Moment;

/// The queue of a shared limit, as the task uses it that sends commands to the store.
pub(crate) trait SharedQueue: Send + Sync {
    /// Grants what can be granted now, rejects what cannot start in time, and wakes both.
    fn look(&self);
}

/// What the calls of a queue wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// What the first waiter needs.
    pub(crate) least: u64,
    /// What all waiters need.
    pub(crate) total: u64,
    /// The last moment at which the first waiter can start.
    pub(crate) until: Option<Moment>,
}

/// Why a shared limit rejects calls that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreRejection {
    /// No call starts before this moment.
    #[cfg_attr(
        not(feature = "rate"),
        expect(dead_code, reason = "only a rate limit knows it")
    )]
    Until(Moment),
    /// The store is away; a call may try again after this time.
    Away(Duration),
}
