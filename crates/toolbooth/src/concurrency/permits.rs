use std::borrow::Cow;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use toolbooth_core::{CancelReason, LayerName, Moment, Part, ToolError};

use super::future::ResponseWatch;
use super::shared::{LeaseEnd, SharedPermits};
use crate::middleware::Acquire;
use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::middleware::sync::{Arc, Weak};
use crate::queue::{Grant, LimitQueue, Limiter, Limits, Waiter, trace_rejection};
use crate::shared::{FencingNumber, Place, SharedQueue, StoreRejection, Waiting};

/// The queue of calls that wait for permits.
pub(super) type PermitQueue = LimitQueue<Permits>;

/// The permits of one call: one, or several. Acquired here, released by `Drop`.
#[derive(Debug)]
pub(super) struct Permit {
    queue: Arc<PermitQueue>,
    cost: u64,
    hold: Hold,
}

/// What keeps a permit. A word of its own, not a byte: so a permit is moved in whole words, and no
/// load waits for several smaller stores (benchmark line `ready`).
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Hold {
    /// The call, and its blocking work.
    Call,
    /// All work of the call, until it has ended.
    UntilEnded,
}

/// What a call must acquire.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) queue: Cow<'a, Arc<PermitQueue>>,
    pub(super) cost: u64,
    /// Whether all work of the call keeps the permits until it has ended.
    pub(super) until_ended: bool,
    pub(super) layer: &'a LayerName,
}

/// A call that waits for its permits.
#[derive(Debug)]
pub struct AcquirePermit {
    waiter: Waiter<Permits>,
    until_ended: bool,
    layer: LayerName,
}

/// Counts the permits of one limit.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: AtomicU64,
    in_flight: AtomicU64,
    /// The expected duration of a call in nanoseconds; 0 if unknown.
    service_time: AtomicU64,
    /// If the permits are in a store.
    stored: Option<Box<Stored>>,
}

/// The permits of a limit in a store.
#[derive(Debug)]
struct Stored {
    place: Place,
    /// `None` without a limit: those of the keys are made of it.
    permits: Option<SharedPermits>,
}

// === impl Permit ===

impl Permit {
    /// Acquires without waiting. Otherwise returns what waits for the permits.
    #[inline]
    pub(super) fn try_acquire(part: &Part, claim: Claim<'_>) -> Result<Self, AcquirePermit> {
        let Claim {
            queue,
            cost,
            until_ended,
            layer,
        } = claim;
        match queue.try_acquire(cost, || part.now()) {
            true => Ok(Self::acquired(part, queue.into_owned(), cost, until_ended)),
            false => Err(AcquirePermit {
                waiter: Waiter::new(queue.into_owned(), cost, part.now()),
                until_ended,
                layer: layer.clone(),
            }),
        }
    }

    #[inline]
    fn acquired(part: &Part, queue: Arc<PermitQueue>, cost: u64, until_ended: bool) -> Self {
        let hold = match until_ended {
            true => {
                part.hold_until_ended(queue.id());
                Hold::UntilEnded
            }
            false => {
                part.hold(queue.id());
                Hold::Call
            }
        };
        Self { queue, cost, hold }
    }

    /// Drops the permits, unless work of the call keeps them.
    #[inline]
    pub(super) fn release(self, part: &Part) {
        match self.hold {
            Hold::UntilEnded => self.release_when_ended(part),
            Hold::Call => _ = part.release_permit(self.queue.id(), self),
        }
    }

    #[cold]
    fn release_when_ended(self, part: &Part) {
        let queue = Arc::clone(&self.queue);
        // Another attempt of this call may wait here. It inherits the permits from now on.
        part.release_permit_and_wake(self.queue.id(), self, move || queue.wake_all());
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
        self.waiter.queue().limiter().limit() == 0
    }
}

impl Acquire<ResponseWatch> for AcquirePermit {
    fn poll_acquire(
        &mut self,
        part: &Part,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        if self.until_ended && part.inherits(self.waiter.queue().id()) {
            return Poll::Ready(Ok(()));
        }
        let rejection = match ready!(self.waiter.poll(part, cx)) {
            Ok(grant) => {
                let queue = Arc::clone(self.waiter.queue());
                let lease_end = queue.limiter().start(part, grant);
                if lease_end.as_ref().is_some_and(LeaseEnd::has_come) {
                    queue.release(self.waiter.cost());
                    let error = ToolError::cancelled(CancelReason::LeaseLost);
                    return Poll::Ready(Err(error.with_layer(&self.layer)));
                }
                let permit = Permit::acquired(part, queue, self.waiter.cost(), self.until_ended);
                *watch = ResponseWatch::with_lease(permit, lease_end);
                return Poll::Ready(Ok(()));
            }
            Err(rejection) => rejection,
        };
        trace_rejection(
            &self.layer,
            part.context(),
            &rejection,
            self.waiter.waited(),
        );
        let limit = self.waiter.queue().limiter().describe();
        let error = rejection.error(part.context(), &self.layer);
        Poll::Ready(Err(error.with_limit(limit)))
    }

    fn queue(&self) -> Option<&LayerName> {
        Some(&self.layer)
    }
}

// === impl Permits ===

impl Permits {
    fn build(limit: Option<usize>, place: Option<Place>) -> Self {
        let limit = limit.map_or(u64::MAX, to_u64);
        let stored = place.map(|place| {
            let permits = (limit != u64::MAX).then(|| SharedPermits::new(&place, limit));
            Box::new(Stored { place, permits })
        });
        Self {
            limit: AtomicU64::new(limit),
            in_flight: AtomicU64::new(0),
            service_time: AtomicU64::new(0),
            stored,
        }
    }

    #[inline]
    fn shared(&self) -> Option<&SharedPermits> {
        self.stored.as_ref()?.permits.as_ref()
    }

    /// Provides what was granted to a call that starts. Returns what ends it, if it can lose its
    /// permits.
    fn start(&self, part: &Part, grant: Grant) -> Option<LeaseEnd> {
        let shared = self.shared()?;
        if grant.fence != 0 {
            part.provide(&StdArc::new(FencingNumber::new(grant.fence)));
        }
        shared.lease_end(grant)
    }

    fn limit(&self) -> u64 {
        match self.shared() {
            None => self.limit.load(Ordering::SeqCst),
            Some(shared) => shared.permits(),
        }
    }

    /// Returns the limit; `None` if there is none.
    pub(super) fn setting(&self) -> Option<usize> {
        match self.limit() {
            u64::MAX => None,
            limit => Some(to_usize(limit)),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        to_usize(self.used())
    }

    fn used(&self) -> u64 {
        match self.shared() {
            None => self.in_flight.load(Ordering::SeqCst),
            Some(shared) => shared.used(),
        }
    }

    pub(crate) fn available(&self) -> usize {
        match self.limit() {
            u64::MAX => usize::MAX,
            // More can be in flight than a limit that was lowered.
            limit => to_usize(limit.saturating_sub(self.used())),
        }
    }
}

impl Limiter for Permits {
    type Setting = usize;

    const KIND: &'static str = "concurrency";

    const TIMED: bool = false;

    fn new(limit: Option<usize>) -> Self {
        Self::build(limit, None)
    }

    fn fresh(&self) -> Self {
        Self::build(Some(to_usize(self.limit())), self.place().cloned())
    }

    fn fresh_for(&self, key: Option<&str>, limit: Option<usize>, is_changed: bool) -> Option<Self> {
        let place = self.place().map(|place| place.of(key, is_changed));
        limit.map(|limit| Self::build(Some(limit), place))
    }

    fn at(&self, place: Place) -> Self {
        Self::build(Some(to_usize(self.limit())), Some(place))
    }

    fn place(&self) -> Option<&Place> {
        self.stored.as_ref().map(|stored| &stored.place)
    }

    fn attach(&self, queue: impl FnOnce() -> Weak<dyn SharedQueue>) {
        if let Some(shared) = self.shared() {
            shared.attach(queue);
        }
    }

    #[inline]
    fn set_waiting(&self, waiting: impl FnOnce() -> Option<Waiting>) {
        if let Some(shared) = self.shared() {
            shared.set_waiting(waiting());
        }
    }

    fn rejection(&self) -> Option<StoreRejection> {
        self.shared()?.rejection()
    }

    fn names(&self, _: &str) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("{} at once", self.limit())
    }

    fn describe_setting(limit: Option<usize>) -> Option<String> {
        // The largest one is no limit.
        let limit = limit.filter(|limit| *limit != usize::MAX)?;
        Some(Self::new(Some(limit)).describe())
    }

    fn set(&self, limit: Option<usize>) {
        let limit = limit.map_or(u64::MAX, to_u64);
        match self.shared() {
            None => self.limit.store(limit, Ordering::SeqCst),
            Some(shared) => shared.set_permits(Some(limit).filter(|limit| *limit != u64::MAX)),
        }
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
        if let Some(shared) = self.shared() {
            return shared.try_acquire(cost);
        }
        let limit = self.limit.load(Ordering::SeqCst);
        let acquired = |in_flight: u64| in_flight.checked_add(cost).filter(|sum| *sum <= limit);
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, acquired)
            .is_ok()
    }

    fn try_grant(&self, cost: u64, now: Moment) -> Option<Grant> {
        match self.shared() {
            None => self.try_acquire(cost, || now).then(|| Grant::at(now)),
            Some(shared) => shared.try_grant(cost, now),
        }
    }

    #[inline]
    fn release(&self, cost: u64, _: Moment, _: impl FnOnce() -> Moment) {
        match self.shared() {
            None => _ = self.in_flight.fetch_sub(cost, Ordering::SeqCst),
            Some(shared) => shared.release(cost),
        }
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

/// Returns how many permits of all queues are held.
pub(super) fn in_flight(limits: &Limits<Permits>) -> usize {
    let queues = limits.queues();
    queues.iter().map(|queue| queue.limiter().in_flight()).sum()
}

pub(super) fn to_u64(permits: usize) -> u64 {
    u64::try_from(permits).unwrap_or(u64::MAX)
}

fn to_usize(permits: u64) -> usize {
    usize::try_from(permits).unwrap_or(usize::MAX)
}
