//! A concurrency limit whose permits are in a store.
//!
//! Invariants:
//! 1. The store counts at least the permits that calls of this process have under a valid lease:
//!    a permit is used only after the store has granted it, and a release is reported after it.
//!    Permits that were used while the store was away are reported as soon as it is found.
//! 2. At most one command that may be granted permits is in flight. So what the process holds is
//!    known whenever it is reported.
//! 3. Permits that no call takes at once are returned by the next command, which is sent without a
//!    delay.

mod exchange;
mod lost;
mod state;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use toolbooth_core::{Moment, Name};

pub(super) use self::lost::LeaseEnd;
use self::lost::LostPermits;
use self::state::State;
use crate::middleware::sync::{Mutex, lock};
use crate::queue::Grant;
use crate::shared::{Bell, Link, Place, SharedQueue, StoreRejection, Waiting, WhenAway};

/// The permits of one limit as a process sees them.
pub(in crate::concurrency) struct SharedPermits {
    shared: Arc<Shared>,
    attached: OnceLock<()>,
}

/// What the limiter and its task share.
#[derive(Debug)]
struct Shared {
    link: Arc<Link>,
    limit: Name,
    bell: Arc<Bell>,
    state: Mutex<State>,
    lost: LostPermits,
}

// === impl SharedPermits ===

impl SharedPermits {
    pub(in crate::concurrency) fn new(place: &Place, permits: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                link: Arc::clone(&place.store.link),
                limit: place.limit(),
                bell: Arc::default(),
                state: Mutex::new(State::new(permits, place.set)),
                lost: LostPermits::new(),
            }),
            attached: OnceLock::new(),
        }
    }

    /// Starts the task of the limit, once.
    pub(in crate::concurrency) fn attach(&self, queue: impl FnOnce() -> Weak<dyn SharedQueue>) {
        self.attached.get_or_init(|| {
            let (shared, queue) = (Arc::clone(&self.shared), queue());
            let run = |holder| exchange::run(shared, queue, holder);
            self.shared.link.start(&self.shared.bell, run);
        });
    }

    /// Acquires without the store, which is only right while that is away.
    pub(in crate::concurrency) fn try_acquire(&self, cost: u64) -> bool {
        match self.shared.away() {
            None | Some(WhenAway::Closed) => false,
            Some(away) => self.shared.acquire_away(away, cost),
        }
    }

    /// Acquires for a waiter.
    pub(in crate::concurrency) fn try_grant(&self, cost: u64, now: Moment) -> Option<Grant> {
        match self.shared.away() {
            None => {
                let mut state = lock(&self.shared.state);
                let fence = state.take(cost)?;
                // Under the lock, so that the lease is the one of the permits.
                let lease = self.shared.lost.lease();
                Some(Grant {
                    at: now,
                    fence,
                    lease,
                })
            }
            Some(WhenAway::Closed) => None,
            Some(away) => {
                let acquired = self.shared.acquire_away(away, cost);
                acquired.then(|| Grant::at(now))
            }
        }
    }

    pub(in crate::concurrency) fn release(&self, cost: u64) {
        lock(&self.shared.state).release(cost);
        self.shared.bell.changed.notify_one();
    }

    /// Sets what the waiters of the queue need.
    pub(in crate::concurrency) fn set_waiting(&self, waiting: Option<Waiting>) {
        if lock(&self.shared.state).set_waiting(waiting) {
            self.shared.bell.changed.notify_one();
        }
    }

    /// Returns the number of permits that holds for all processes, as far as it is known.
    pub(in crate::concurrency) fn permits(&self) -> u64 {
        let state = lock(&self.shared.state);
        match state.is_lifted() {
            true => u64::MAX,
            false => state.permits(),
        }
    }

    /// Changes the number of permits for all processes; `None` ends the limit of this one.
    pub(in crate::concurrency) fn set_permits(&self, permits: Option<u64>) {
        lock(&self.shared.state).set_permits(permits);
        self.shared.bell.changed.notify_one();
    }

    /// Returns how many permits calls of this process have.
    pub(in crate::concurrency) fn used(&self) -> u64 {
        lock(&self.shared.state).used()
    }

    /// Returns why calls are rejected, if they are.
    pub(in crate::concurrency) fn rejection(&self) -> Option<StoreRejection> {
        let closed = self.shared.away() == Some(WhenAway::Closed);
        closed.then(|| StoreRejection::Away(self.shared.link.retry_after()))
    }

    /// Returns what ends a call that starts now when its permits are lost; `None` if they never
    /// are. It has come already if they were lost between the grant and the start.
    pub(in crate::concurrency) fn lease_end(&self, grant: Grant) -> Option<LeaseEnd> {
        let closed = self.shared.link.options.when_away == WhenAway::Closed;
        let is_lifted = lock(&self.shared.state).is_lifted();
        (closed && !is_lifted).then(|| self.shared.lost.lease_end(grant.lease))
    }
}

impl Drop for SharedPermits {
    fn drop(&mut self) {
        lock(&self.shared.state).close();
        self.shared.bell.changed.notify_one();
    }
}

impl fmt::Debug for SharedPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

// === impl Shared ===

impl Shared {
    /// Returns what holds without the store; `None` if that decides.
    fn away(&self) -> Option<WhenAway> {
        let state = lock(&self.state);
        match state.is_lifted() {
            true => Some(WhenAway::Open),
            false => self.link.away(state.is_failing()),
        }
    }

    fn acquire_away(&self, away: WhenAway, cost: u64) -> bool {
        let processes = match away {
            WhenAway::Local => Some(self.link.processes()),
            WhenAway::Closed | WhenAway::Open => None,
        };
        lock(&self.state).acquire_away(processes, cost)
    }
}
