use std::borrow::Cow;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use toolbooth_core::{LimitId, Moment, Part, ToolError};

use super::future::ResponseWatch;
use crate::middleware::Acquire;
use crate::middleware::sync::Arc;
use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::queue::{LimitQueue, Limiter, Waiter, trace_rejection};

/// The queue of calls that wait for permits.
pub(super) type PermitQueue = LimitQueue<Permits>;

/// The permits of one call: one, or several. Acquired here, released by `Drop`.
#[derive(Debug)]
pub(super) struct Permit {
    queue: Arc<PermitQueue>,
    cost: u64,
}

/// A call that waits for its permits.
#[derive(Debug)]
pub struct AcquirePermit(Waiter<Permits>);

/// Counts the permits of one limit.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: AtomicU64,
    in_flight: AtomicU64,
    /// The expected duration of a call in nanoseconds; 0 if unknown.
    service_time: AtomicU64,
}

// === impl Permit ===

impl Permit {
    /// Acquires without waiting. Otherwise returns what waits for the permits.
    #[inline]
    pub(super) fn try_acquire(
        part: &Part,
        queue: Cow<'_, Arc<PermitQueue>>,
        cost: u64,
    ) -> Result<Self, AcquirePermit> {
        match queue.try_acquire(cost, || part.now()) {
            true => Ok(Self::acquired(part, queue.into_owned(), cost)),
            false => {
                let waiter = Waiter::new(queue.into_owned(), cost, part.now());
                Err(AcquirePermit(waiter))
            }
        }
    }

    #[inline]
    fn acquired(part: &Part, queue: Arc<PermitQueue>, cost: u64) -> Self {
        part.hold(queue.id());
        Self { queue, cost }
    }

    /// Returns the limit that the permits are of.
    pub(super) fn limit(&self) -> LimitId {
        self.queue.id()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.release(self.cost);
    }
}

// === impl AcquirePermit ===

impl AcquirePermit {
    /// Returns whether the limit is 0, so that no permit is ever free.
    pub(super) fn is_closed(&self) -> bool {
        self.0.queue().limiter().limit() == 0
    }
}

impl Acquire<ResponseWatch> for AcquirePermit {
    fn poll_acquire(
        &mut self,
        part: &Part,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let Err(rejection) = ready!(self.0.poll(part, cx)) else {
            let queue = Arc::clone(self.0.queue());
            let permit = Permit::acquired(part, queue, self.0.cost());
            *watch = ResponseWatch::new(Some(permit));
            return Poll::Ready(Ok(()));
        };
        trace_rejection("concurrency", part.context(), &rejection, self.0.waited());
        Poll::Ready(Err(rejection.error(part.context())))
    }
}

// === impl Permits ===

impl Permits {
    fn limit(&self) -> u64 {
        self.limit.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        to_usize(self.in_flight.load(Ordering::SeqCst))
    }

    pub(crate) fn available(&self) -> usize {
        match self.limit() {
            u64::MAX => usize::MAX,
            // More can be in flight than a limit that was lowered.
            limit => to_usize(limit.saturating_sub(self.in_flight.load(Ordering::SeqCst))),
        }
    }
}

impl Limiter for Permits {
    type Setting = usize;

    const TIMED: bool = false;

    fn new(limit: Option<usize>) -> Self {
        Self {
            limit: AtomicU64::new(limit.map_or(u64::MAX, to_u64)),
            in_flight: AtomicU64::new(0),
            service_time: AtomicU64::new(0),
        }
    }

    fn fresh(&self) -> Self {
        Self::new(Some(to_usize(self.limit())))
    }

    fn fresh_for(&self, _: Option<&str>, limit: Option<usize>) -> Option<Self> {
        limit.map(|limit| Self::new(Some(limit)))
    }

    fn names(&self, _: &str) -> bool {
        false
    }

    fn set(&self, limit: Option<usize>) {
        let limit = limit.map_or(u64::MAX, to_u64);
        self.limit.store(limit, Ordering::SeqCst);
    }

    fn set_service_time(&self, about: Option<Duration>) {
        let nanos = about.unwrap_or_default().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.service_time.store(nanos, Ordering::SeqCst);
    }

    /// Without a handle no permit is held.
    fn idle_from(&self) -> Moment {
        Moment::from_nanos(0)
    }

    #[inline]
    fn try_acquire(&self, cost: u64, _: impl FnOnce() -> Moment) -> bool {
        let limit = self.limit();
        let acquired = |in_flight: u64| in_flight.checked_add(cost).filter(|sum| *sum <= limit);
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, acquired)
            .is_ok()
    }

    fn try_grant(&self, cost: u64, now: Moment) -> Option<Moment> {
        self.try_acquire(cost, || now).then_some(now)
    }

    #[inline]
    fn release(&self, cost: u64, _: Moment, _: impl FnOnce() -> Moment) {
        self.in_flight.fetch_sub(cost, Ordering::SeqCst);
    }

    fn capacity(&self) -> u64 {
        self.limit()
    }

    fn is_exact(&self) -> bool {
        false
    }

    /// All running calls may end at once. From then on each `limit` of the cost ahead takes one
    /// service time.
    fn due(&self, ahead: u64, _: u64, now: Moment) -> Option<Moment> {
        let service_time = match self.service_time.load(Ordering::SeqCst) {
            0 => return None,
            service_time => service_time,
        };
        let rounds = ahead.checked_div(self.limit())?;
        Some(Moment::from_nanos(
            now.as_nanos()
                .saturating_add(service_time.saturating_mul(rounds)),
        ))
    }
}

pub(super) fn to_u64(permits: usize) -> u64 {
    u64::try_from(permits).unwrap_or(u64::MAX)
}

fn to_usize(permits: u64) -> usize {
    usize::try_from(permits).unwrap_or(usize::MAX)
}
