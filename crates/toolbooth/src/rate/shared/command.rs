//! The commands of a process to the bucket of a limit.

use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::Moment;

use super::line::Surplus;
use crate::shared::{SetLimit, SharedQuota};

/// A command to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Take(Take),
    Return(Surplus),
}

/// Takes tokens, as [`TakeTokens`](crate::shared::TakeTokens) does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Take {
    pub(super) quotas: Arc<[SharedQuota]>,
    pub(super) set: SetLimit,
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) max_wait: Duration,
    pub(super) horizon: Duration,
    /// Whether calls have used the tokens already.
    pub(super) charge: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Send(Command),
    /// Nothing until this moment, or until something changes.
    Wait(Option<Moment>),
    /// Nothing any more.
    End,
}

/// What the rules allow that hold in this process alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalRules {
    /// When the first waiter can start.
    pub(super) from: Moment,
    /// How many tokens can be used until then.
    pub(super) room: u64,
}

/// The times that the exchange depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How far ahead tokens are reserved for waiters behind the first.
    pub(super) horizon: Duration,
    /// How long a token can be used after it is available.
    pub(super) grace: Duration,
}

// === impl Times ===

impl Times {
    pub(super) const fn new(reply_within: Duration) -> Self {
        Self {
            horizon: reply_within.saturating_mul(2),
            grace: reply_within,
        }
    }
}
