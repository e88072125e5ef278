//! The state behind a context: one attempt of a call, and what all attempts share.
//!
//! Layers that an attempt enters are counted. Invariants:
//! 1. `cancelled` holds the outermost depth from which inwards the attempt is cut, `ended` and
//!    `closed` those from which it is over; they only move outwards.
//! 2. A fork is cut and closed with its parent where that happens at a depth that the parent had
//!    entered when it was forked, and is untouched by what happens further in.
//! 3. Layers enter and end one after the other, so `depth`, `closed` and the settings of layers
//!    have one writer at a time and need no read-modify-write. The outermost end may race with another
//!    thread that registers a hook or waits: both sides change `ended`, and the second sees the first. A waiter that comes in
//!    the very moment of an end further in may notice it only with the outermost one.
//! 4. A hook is pushed under the lock under which the end takes the hooks, after looking whether
//!    the attempt is over: so it is either taken by the end or runs at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::Name;
use super::cleanup::{self, CleanupEnd, Hook, Hooks};
use super::clock::{AtomicMoment, Moment};
use super::settings::{Bound, Settings};
use crate::answer::{Displaced, KeepPolicy, Partials};
use crate::error::TimeoutScope;
use crate::outcome::{CancelReason, Outcome};
use crate::sync::lock;

/// One attempt of a call.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) settings: Settings,
    call: CallRef,
    parent: Option<Link>,
    number: AtomicU32,
    depth: AtomicU32,
    /// Whether a timeout layer stands around what the attempt enters next.
    timed: AtomicBool,
    /// Outcome of the outermost part, once it has ended; and whether there is a `rare`.
    ended: AtomicU32,
    /// Depth and outcome of the outermost other part that has ended.
    closed: AtomicU64,
    /// Depth and reason of the outermost cut.
    cancelled: AtomicU64,
    /// The reading of the clock that is carried in this synchronous stretch.
    reading: AtomicMoment,
    bound_at: AtomicMoment,
    /// Length, and as the lowest bit the scope.
    bound_limit: AtomicU64,
    keep: Keep,
    rare: OnceLock<Box<Rare>>,
}

/// What all attempts of a call share: in the first one, and from the others a handle to it.
#[derive(Debug)]
enum CallRef {
    First(Call),
    Later(Arc<Attempt>),
}

#[derive(Debug)]
struct Call {
    serial: u64,
    started: AtomicMoment,
    attempts: AtomicU32,
    forked: AtomicBool,
    partials: OnceLock<Box<Mutex<Partials>>>,
}

/// From a fork to what it was forked from: it is inside the layers up to `depth`.
#[derive(Debug, Clone)]
struct Link {
    attempt: Arc<Attempt>,
    depth: u32,
}

/// What few attempts need, allocated by the first that does.
#[derive(Debug, Default)]
struct Rare {
    /// Told whenever the attempt is cut or closed.
    gone: Notify,
    hooks: Mutex<Hooks>,
    /// Forks in which somebody waits for the cut.
    forks: Mutex<Vec<Weak<Attempt>>>,
}

/// A [`KeepPolicy`] that is set by the outermost layer that keeps partial results.
#[derive(Debug, Default)]
struct Keep(AtomicU64, AtomicU64);

// === impl Attempt ===

impl Attempt {
    pub(super) fn first(settings: Settings) -> Self {
        let call = Call {
            serial: serial(),
            started: AtomicMoment::none(),
            attempts: AtomicU32::new(0),
            forked: AtomicBool::new(false),
            partials: OnceLock::new(),
        };
        Self::new(settings, CallRef::First(call))
    }

    /// Another attempt of the same call, inside the layers that this one has entered.
    pub(super) fn fork(self: &Arc<Self>) -> Self {
        let first = match &self.call {
            CallRef::First(_) => self,
            CallRef::Later(first) => first,
        };
        first.call().forked.store(true, Ordering::Release);
        let mut fork = Self::new(self.settings.clone(), CallRef::Later(Arc::clone(first)));
        fork.parent = match self.depth.load(Ordering::Acquire) {
            // Forked before it entered any layer: inside the same layers as this one, not inside this one.
            0 => self.parent.clone(),
            depth => Some(Link {
                attempt: Arc::clone(self),
                depth,
            }),
        };
        fork.timed = AtomicBool::new(self.is_timed());
        fork.bound_at.set(self.bound_at.get());
        fork.bound_limit = AtomicU64::new(self.bound_limit.load(Ordering::Acquire));
        fork.keep = self.keep.copy();
        fork
    }

    const fn new(settings: Settings, call: CallRef) -> Self {
        Self {
            settings,
            call,
            parent: None,
            number: AtomicU32::new(0),
            depth: AtomicU32::new(0),
            timed: AtomicBool::new(false),
            ended: AtomicU32::new(0),
            closed: AtomicU64::new(OPEN),
            cancelled: AtomicU64::new(OPEN),
            reading: AtomicMoment::none(),
            bound_at: AtomicMoment::none(),
            bound_limit: AtomicU64::new(0),
            keep: Keep(AtomicU64::new(0), AtomicU64::new(0)),
            rare: OnceLock::new(),
        }
    }

    fn call(&self) -> &Call {
        match &self.call {
            CallRef::First(call) => call,
            CallRef::Later(first) => first.call(),
        }
    }

    fn rare(&self) -> &Rare {
        let rare = self.rare.get_or_init(Box::default);
        self.ended.fetch_or(RARE, Ordering::AcqRel);
        // With the fence in `tell`: either this side sees a cut, or that side sees the waiter.
        fence(Ordering::SeqCst);
        rare
    }

    pub(super) fn serial(&self) -> u64 {
        self.call().serial
    }

    pub(super) fn number(&self) -> u32 {
        match self.number.load(Ordering::Acquire) {
            0 => {
                let next = self.call().attempts.fetch_add(1, Ordering::Relaxed) + 1;
                let raced =
                    self.number
                        .compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire);
                raced.err().unwrap_or(next)
            }
            number => number,
        }
    }

    // --- time

    pub(super) fn started(&self) -> Option<Moment> {
        self.call().started.get()
    }

    pub(super) fn now(&self) -> Moment {
        self.reading.get().unwrap_or_else(Moment::now)
    }

    /// Carries a reading, or none any more.
    pub(super) fn carry_reading(&self, reading: Option<Moment>) {
        self.reading.set(reading);
    }

    // --- layers

    /// Counts one more layer; gives its depth, and whether it is the first of the call and started its clock.
    pub(crate) fn enter(&self) -> (u32, bool) {
        let depth = self.depth.load(Ordering::Relaxed) + 1;
        self.depth.store(depth, Ordering::Release);
        if depth > 1 {
            return (depth, false);
        }
        let call = self.call();
        if call.forked.load(Ordering::Acquire) {
            self.number();
        } else {
            // Nobody has cloned the call, and its owner is here: there is no other attempt to tell this one from.
            call.attempts.store(1, Ordering::Release);
            self.number.store(1, Ordering::Release);
        }
        let started = &call.started;
        if started.get().is_some() {
            return (depth, false);
        }
        started.set(Some(Moment::now()));
        (depth, true)
    }

    /// Whether no timeout layer had been entered yet.
    pub(super) fn enter_timeout(&self) -> bool {
        let outermost = !self.is_timed();
        self.timed.store(true, Ordering::Release);
        outermost
    }

    pub(super) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Acquire)
    }

    pub(super) fn narrow(&self, bound: Bound) {
        let deadline = u64::from(bound.scope == TimeoutScope::Deadline);
        let longest = u64::MAX >> 1;
        let limit =
            u64::try_from(bound.limit.as_nanos()).map_or(longest, |nanos| nanos.min(longest));
        self.bound_limit
            .store(limit << 1 | deadline, Ordering::Release);
        self.bound_at.set(Some(bound.at));
    }

    /// The nearest limit around the attempt, the caller's deadline among them.
    pub(super) fn bound(&self) -> Option<Bound> {
        let around = self.bound_at.get().map(|at| self.bound_of_layer(at));
        let Some(deadline) = self.deadline() else {
            return around;
        };
        if around.is_some_and(|around| around.at <= deadline) {
            return around;
        }
        Some(self.bound_of_caller(deadline))
    }

    /// The caller's own deadline.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.settings.more()?.deadline
    }

    pub(super) fn bound_of_caller(&self, deadline: Moment) -> Bound {
        let started = self.started().unwrap_or_else(Moment::now);
        Bound {
            at: deadline,
            scope: TimeoutScope::Deadline,
            limit: deadline.since(started),
        }
    }

    fn bound_of_layer(&self, at: Moment) -> Bound {
        let limit = self.bound_limit.load(Ordering::Acquire);
        Bound {
            at,
            scope: match limit & 1 {
                0 => TimeoutScope::Total,
                _ => TimeoutScope::Deadline,
            },
            limit: Duration::from_nanos(limit >> 1),
        }
    }

    // --- cut and close

    pub(crate) fn cancel(&self, depth: u32, reason: CancelReason) {
        self.cancelled
            .fetch_min(pack(depth, reason_code(reason)), Ordering::AcqRel);
        self.tell();
    }

    /// Ends a part; `alone` where nobody else holds the attempt, so that there is nobody to race with or to tell.
    pub(crate) fn close(&self, depth: u32, outcome: Outcome, alone: bool) {
        if depth > 1 {
            let packed = pack(depth, outcome_code(outcome));
            if packed < self.closed.load(Ordering::Relaxed) {
                self.closed.store(packed, Ordering::Release);
            }
            if self.rare.get().is_some() {
                self.tell();
            }
            return;
        }
        if alone {
            self.ended
                .store(ENDED | u32::from(outcome_code(outcome)), Ordering::Release);
            return self.end_partials();
        }
        let before = self
            .ended
            .swap(ENDED | u32::from(outcome_code(outcome)), Ordering::AcqRel);
        self.end_partials();
        if before & RARE != 0 {
            self.tell();
        }
    }

    /// The reason of a cut from outside of `depth`.
    pub(crate) fn cancelled_outside(&self, depth: u32) -> Option<CancelReason> {
        let own = self.cancelled.load(Ordering::Acquire);
        if unpack_depth(own) < depth {
            return Some(reason_of(own));
        }
        let link = self.parent.as_ref()?;
        link.attempt.cancelled_outside(link.depth + 1)
    }

    /// How the attempt ended, if it has, outside of `depth`.
    pub(super) fn closed_outside(&self, depth: u32) -> Option<Outcome> {
        let ended = self.ended.load(Ordering::Acquire);
        if ended & ENDED != 0 && depth > 1 {
            return Some(outcome_of(ended));
        }
        let own = self.closed.load(Ordering::Acquire);
        if unpack_depth(own) < depth {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the outcome is in the lowest bits"
            )]
            return Some(outcome_of(own as u32));
        }
        let link = self.parent.as_ref()?;
        link.attempt.closed_outside(link.depth + 1)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed_outside(u32::MAX).is_some()
    }

    fn tell(&self) {
        fence(Ordering::SeqCst);
        if let Some(rare) = self.rare.get() {
            let forks: Vec<Arc<Self>> =
                lock(&rare.forks).iter().filter_map(Weak::upgrade).collect();
            rare.gone.notify_waiters();
            forks.iter().for_each(|fork| fork.tell());
        }
    }

    /// Waits until the attempt is cut or over.
    pub(super) async fn gone(self: &Arc<Self>) {
        let mut watched = self;
        while let Some(link) = &watched.parent {
            link.attempt.watch(watched);
            watched = &link.attempt;
        }
        loop {
            let told = self.rare().gone.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            if self.cancelled_outside(u32::MAX).is_some() || self.is_closed() {
                return;
            }
            told.await;
        }
    }

    fn watch(&self, fork: &Arc<Self>) {
        let fork = Arc::downgrade(fork);
        let mut forks = lock(&self.rare().forks);
        forks.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&fork));
        forks.push(fork);
    }

    // --- partial results

    /// Keeps by this policy, unless a layer further out said by which.
    pub(super) fn keep(&self, policy: KeepPolicy) -> bool {
        let outermost = self.keep.get().is_none();
        if outermost {
            self.keep.set(policy);
        }
        outermost
    }

    /// Whether anything that is published is kept.
    pub(super) fn keeps(&self) -> bool {
        self.keep.get().is_some()
    }

    /// Lets `record` add to what this attempt has kept, unless nothing is kept or the attempt is over.
    pub(super) fn record(&self, record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced) {
        self.record_unless_closed(u32::MAX, || self.number(), record);
    }

    /// The same for what comes by a layer at `depth`: from the attempt that was called last.
    pub(crate) fn record_at(
        &self,
        depth: u32,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        self.record_unless_closed(
            depth,
            || self.call().attempts.load(Ordering::Acquire),
            record,
        );
    }

    fn record_unless_closed(
        &self,
        depth: u32,
        attempt: impl FnOnce() -> u32,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        if let Some(policy) = self.keep.get() {
            let mut partials = lock(self.call().partials.get_or_init(Box::default));
            if self.closed_outside(depth).is_none() {
                let displaced = record(&mut partials, attempt(), policy);
                drop(partials);
                drop(displaced);
            }
        }
    }

    pub(super) fn partials<T>(
        &self,
        read: impl FnOnce(&mut Partials, u32) -> Option<T>,
    ) -> Option<T> {
        let partials = self.call().partials.get()?;
        read(&mut lock(partials), self.number.load(Ordering::Acquire))
    }

    fn end_partials(&self) {
        if let Some(partials) = self.call().partials.get() {
            let ended = lock(partials).end(self.number.load(Ordering::Acquire));
            drop(ended);
        }
    }

    // --- cleanup

    pub(super) fn register(&self, hook: Hook) -> cleanup::Registered {
        if let (0, Some(link)) = (self.depth.load(Ordering::Acquire), &self.parent) {
            return link.attempt.register_at(hook, link.depth + 1);
        }
        self.register_at(hook, u32::MAX)
    }

    fn register_at(&self, hook: Hook, depth: u32) -> cleanup::Registered {
        let mut hooks = lock(&self.rare().hooks);
        let Some(outcome) = self.closed_outside(depth) else {
            let refused = hooks.push(hook);
            drop(hooks);
            return refused.map_or(cleanup::Registered::Held, cleanup::refuse);
        };
        drop(hooks);
        Hooks::from(hook).run_untracked(self.cleanup_end(outcome));
        cleanup::Registered::RunsNow
    }

    pub(super) fn take_hooks(&self) -> Hooks {
        match self.rare.get() {
            Some(rare) => std::mem::take(&mut *lock(&rare.hooks)),
            None => Hooks::default(),
        }
    }

    /// What no cleanup layer has run: it goes to the layers around a fork, where there are any and
    /// they have room for it, and runs otherwise.
    pub(crate) fn leave_hooks(&self, outcome: Outcome) {
        if self.rare.get().is_none() {
            return;
        }
        let mut hooks = self.take_hooks();
        if hooks.is_empty() {
            return;
        }
        if let Some(link) = &self.parent {
            let mut outer = lock(&link.attempt.rare().hooks);
            if link.attempt.closed_outside(link.depth + 1).is_none() && outer.append(&mut hooks) {
                return;
            }
        }
        hooks.run_untracked(self.cleanup_end(outcome));
    }

    /// What hooks are told; with a success nothing is attached.
    pub(super) fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        let partial = match outcome {
            Outcome::Completed => None,
            _ => self.partials(|partials, _| partials.attach()),
        };
        CleanupEnd::new(self.settings.tool.clone(), self.id(), outcome, partial)
    }

    pub(super) fn id(&self) -> Name {
        match self.settings.more().and_then(|more| more.id.as_ref()) {
            Some(id) => id.clone(),
            None => Name::from(format_args!("call-{}", self.serial())),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end_partials();
        if self.rare.get().is_some() {
            let outcome = self.closed_outside(u32::MAX).unwrap_or(Outcome::Cancelled);
            self.leave_hooks(outcome);
        }
    }
}

// === impl Keep ===

impl Keep {
    /// Items above, drop-oldest and "there is one" below.
    fn set(&self, policy: KeepPolicy) {
        let items = u64::try_from(policy.max_items())
            .unwrap_or(u64::MAX)
            .min(u64::MAX >> 2);
        let bytes = u64::try_from(policy.max_bytes()).unwrap_or(u64::MAX);
        self.1.store(bytes, Ordering::Release);
        self.0.store(
            items << 2 | u64::from(policy.drops_oldest()) << 1 | 1,
            Ordering::Release,
        );
    }

    fn get(&self) -> Option<KeepPolicy> {
        let packed = present(&self.0)?;
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let policy = KeepPolicy::new()
            .with_max_items(size(packed >> 2))
            .with_max_bytes(size(self.1.load(Ordering::Acquire)));
        Some(match packed & 2 {
            0 => policy,
            _ => policy.with_drop_oldest(),
        })
    }

    fn copy(&self) -> Self {
        let copy = |value: &AtomicU64| AtomicU64::new(value.load(Ordering::Acquire));
        Self(copy(&self.0), copy(&self.1))
    }
}

/// A number that no other call of this process has. Each thread takes them by the thousand, since a
/// counter that all threads touch would cost more than the rest of a call.
fn serial() -> u64 {
    const BLOCK: u64 = 1_000;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    let next = NEXT.get();
    let next = match next % BLOCK {
        0 => BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1,
        _ => next,
    };
    NEXT.set(next + 1);
    next
}

// === packing ===

/// In `ended`: it has.
const ENDED: u32 = 1 << 8;
/// In `ended`: whoever ends the attempt has somebody to tell.
const RARE: u32 = 1 << 9;
const OPEN: u64 = u64::MAX;

fn present(number: &AtomicU64) -> Option<u64> {
    match number.load(Ordering::Acquire) {
        0 => None,
        number => Some(number),
    }
}

/// The depth above, so that the least value is the outermost.
fn pack(depth: u32, code: u8) -> u64 {
    u64::from(depth) << 8 | u64::from(code)
}

const fn unpack_depth(packed: u64) -> u32 {
    match packed {
        OPEN => u32::MAX,
        #[expect(clippy::cast_possible_truncation, reason = "a depth was packed")]
        packed => (packed >> 8) as u32,
    }
}

const fn reason_code(reason: CancelReason) -> u8 {
    match reason {
        CancelReason::Timeout => 0,
        CancelReason::CallerGone => 1,
        CancelReason::Shutdown => 2,
    }
}

const fn reason_of(packed: u64) -> CancelReason {
    match packed & 0xff {
        0 => CancelReason::Timeout,
        1 => CancelReason::CallerGone,
        _ => CancelReason::Shutdown,
    }
}

const fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::Failed => 1,
        Outcome::TimedOut => 2,
        Outcome::Cancelled => 3,
        Outcome::Rejected => 4,
        Outcome::Panicked => 5,
    }
}

const fn outcome_of(packed: u32) -> Outcome {
    match packed & 0xff {
        0 => Outcome::Completed,
        1 => Outcome::Failed,
        2 => Outcome::TimedOut,
        3 => Outcome::Cancelled,
        4 => Outcome::Rejected,
        _ => Outcome::Panicked,
    }
}
