//! The state behind a context: one attempt of a call, and what all attempts share.
//!
//! Layers that an attempt enters are counted. Invariants:
//! 1. `cancelled` and `closed` hold the outermost depth from which inwards the attempt is cut or over; they only move outwards.
//! 2. A fork is cut and closed with its parent where that happens at a depth that the parent had
//!    entered when it was forked, and is untouched by what happens further in.
//! 3. A hook is pushed under the lock under which the end takes the hooks, after looking whether
//!    the attempt is over: so it is either taken by the end or runs at once.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::cleanup::{self, CleanupEnd, Hook, Hooks};
use super::settings::{Bound, Settings};
use crate::answer::{KeepPolicy, Partials};
use crate::error::TimeoutScope;
use crate::outcome::{CancelReason, Outcome};
use crate::sync::lock;

const OPEN: u64 = u64::MAX;

/// One attempt of a call.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) settings: Settings,
    call: CallRef,
    parent: Option<Link>,
    number: OnceLock<u32>,
    depth: AtomicU32,
    /// Depth and outcome of the outermost part that has ended.
    closed: AtomicU64,
    /// Depth and reason of the outermost cut.
    cancelled: AtomicU64,
    /// Nanoseconds since the start of the call, plus one; 0 where no reading is carried.
    reading: AtomicU64,
    bound: Mutex<Option<Bound>>,
    /// Whether a timeout layer stands around what the attempt enters next.
    timed: AtomicBool,
    keep: OnceLock<KeepPolicy>,
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
    started: OnceLock<Instant>,
    attempts: AtomicU32,
    partials: Mutex<Partials>,
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

// === impl Attempt ===

impl Attempt {
    pub(super) fn first(settings: Settings) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let call = Call {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            started: OnceLock::new(),
            attempts: AtomicU32::new(0),
            partials: Mutex::default(),
        };
        Self::new(settings, CallRef::First(call))
    }

    /// Another attempt of the same call, inside the layers that this one has entered.
    pub(super) fn fork(self: &Arc<Self>) -> Self {
        let first = match &self.call {
            CallRef::First(_) => self,
            CallRef::Later(first) => first,
        };
        let mut fork = Self::new(self.settings.clone(), CallRef::Later(Arc::clone(first)));
        fork.parent = match self.depth.load(Ordering::Acquire) {
            // Forked before it entered any layer: inside the same layers as this one, not inside this one.
            0 => self.parent.clone(),
            depth => Some(Link {
                attempt: Arc::clone(self),
                depth,
            }),
        };
        fork.bound = Mutex::new(*lock(&self.bound));
        fork.timed = AtomicBool::new(self.timed.load(Ordering::Acquire));
        fork.keep.clone_from(&self.keep);
        fork
    }

    fn new(settings: Settings, call: CallRef) -> Self {
        Self {
            settings,
            call,
            parent: None,
            number: OnceLock::new(),
            depth: AtomicU32::new(0),
            closed: AtomicU64::new(OPEN),
            cancelled: AtomicU64::new(OPEN),
            reading: AtomicU64::new(0),
            bound: Mutex::new(None),
            timed: AtomicBool::new(false),
            keep: OnceLock::new(),
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
        // With the fence in `tell`: either this side sees the cut, or that side sees the waiter.
        fence(Ordering::SeqCst);
        rare
    }

    pub(super) fn serial(&self) -> u64 {
        self.call().serial
    }

    pub(super) fn number(&self) -> u32 {
        let attempts = &self.call().attempts;
        *self
            .number
            .get_or_init(|| attempts.fetch_add(1, Ordering::Relaxed) + 1)
    }

    // --- time

    pub(super) fn started(&self) -> Option<Instant> {
        self.call().started.get().copied()
    }

    pub(super) fn now(&self) -> Instant {
        match (self.reading.load(Ordering::Acquire), self.started()) {
            (nanos @ 1.., Some(started)) => started + std::time::Duration::from_nanos(nanos - 1),
            _ => Instant::now(),
        }
    }

    /// Carries a reading until [`forget_reading`](Self::forget_reading); false if one is carried already.
    pub(super) fn carry_reading(&self, now: Instant) -> bool {
        let Some(started) = self.started() else {
            return false;
        };
        let nanos = u64::try_from(now.saturating_duration_since(started).as_nanos())
            .unwrap_or(u64::MAX - 1);
        self.reading
            .compare_exchange(0, nanos + 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn forget_reading(&self) {
        self.reading.store(0, Ordering::Release);
    }

    // --- layers

    /// Counts one more layer; the first of a call starts its clock.
    pub(crate) fn enter(&self, now: Instant) -> u32 {
        self.call().started.get_or_init(|| now);
        self.number();
        self.depth.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether no timeout layer had been entered yet.
    pub(super) fn enter_timeout(&self) -> bool {
        !self.timed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Acquire)
    }

    pub(super) fn narrow(&self, bound: Bound) {
        *lock(&self.bound) = Some(bound);
    }

    /// The nearest limit around the attempt, the caller's deadline among them.
    pub(super) fn bound(&self) -> Option<Bound> {
        let own = self.settings.deadline.map(|at| Bound {
            at,
            scope: TimeoutScope::Deadline,
            limit: at.saturating_duration_since(self.started().unwrap_or_else(Instant::now)),
        });
        match (own, *lock(&self.bound)) {
            (Some(own), Some(bound)) if own.at < bound.at => Some(own),
            (own, bound) => bound.or(own),
        }
    }

    // --- cut and close

    pub(crate) fn cancel(&self, depth: u32, reason: CancelReason) {
        self.cancelled
            .fetch_min(pack(depth, reason_code(reason)), Ordering::AcqRel);
        self.tell();
    }

    pub(crate) fn close(&self, depth: u32, outcome: Outcome) {
        self.closed
            .fetch_min(pack(depth, outcome_code(outcome)), Ordering::AcqRel);
        if depth == 1 && self.keep.get().is_some() {
            lock(&self.call().partials).end(self.number());
        }
        self.tell();
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

    /// How the attempt ended, if it has; `depth` counts what is inside as part of it.
    pub(super) fn closed_outside(&self, depth: u32) -> Option<Outcome> {
        let own = self.closed.load(Ordering::Acquire);
        if unpack_depth(own) < depth {
            return Some(outcome_of(own));
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
            rare.gone.notify_waiters();
            for fork in lock(&rare.forks).iter().filter_map(Weak::upgrade) {
                fork.tell();
            }
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

    pub(super) fn keep(&self, policy: KeepPolicy) {
        self.keep.get_or_init(|| policy);
    }

    /// Lets `record` add to what is kept, unless nothing is kept or the attempt is over.
    pub(super) fn record(&self, record: impl FnOnce(&mut Partials, u32, KeepPolicy)) {
        if let Some(policy) = self.keep.get() {
            let mut partials = lock(&self.call().partials);
            if !self.is_closed() {
                record(&mut partials, self.number(), *policy);
            }
        }
    }

    pub(super) fn partials<T>(
        &self,
        read: impl FnOnce(&mut Partials, u32) -> Option<T>,
    ) -> Option<T> {
        self.keep.get()?;
        read(&mut lock(&self.call().partials), self.number())
    }

    // --- cleanup

    pub(super) fn register(&self, hook: Hook) -> cleanup::Registered {
        if let (0, Some(link)) = (self.depth.load(Ordering::Acquire), &self.parent) {
            return link.attempt.register_at(hook, link.depth);
        }
        self.register_at(hook, u32::MAX)
    }

    fn register_at(&self, hook: Hook, depth: u32) -> cleanup::Registered {
        let mut hooks = lock(&self.rare().hooks);
        match self.closed_outside(depth.saturating_add(1)) {
            None => hooks.push(hook),
            Some(outcome) => {
                drop(hooks);
                let partial = self.partials(|partials, _| partials.attach());
                Hooks::from(hook).run_untracked(CleanupEnd::new(outcome, partial));
                cleanup::Registered::RunsNow
            }
        }
    }

    pub(super) fn take_hooks(&self) -> Hooks {
        match self.rare.get() {
            Some(rare) => std::mem::take(&mut *lock(&rare.hooks)),
            None => Hooks::default(),
        }
    }

    /// What no cleanup layer has run: it goes to the layers around a fork, where there are any, and runs otherwise.
    pub(crate) fn leave_hooks(&self, outcome: Outcome) {
        let hooks = self.take_hooks();
        if hooks.is_empty() {
            return;
        }
        if let Some(link) = &self.parent {
            let mut outer = lock(&link.attempt.rare().hooks);
            if link.attempt.closed_outside(link.depth + 1).is_none() {
                outer.append(hooks);
                return;
            }
        }
        let partial = self.partials(|partials, _| partials.attach());
        hooks.run_untracked(CleanupEnd::new(outcome, partial));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            if self.keep.get().is_some() {
                lock(&self.call().partials).end(*number);
            }
        }
        let outcome = self.closed_outside(u32::MAX).unwrap_or(Outcome::Cancelled);
        self.leave_hooks(outcome);
    }
}

// === packing: the depth above, so that the least value is the outermost ===

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
    }
}

const fn reason_of(packed: u64) -> CancelReason {
    match packed & 0xff {
        0 => CancelReason::Timeout,
        _ => CancelReason::CallerGone,
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

const fn outcome_of(packed: u64) -> Outcome {
    match packed & 0xff {
        0 => Outcome::Completed,
        1 => Outcome::Failed,
        2 => Outcome::TimedOut,
        3 => Outcome::Cancelled,
        4 => Outcome::Rejected,
        _ => Outcome::Panicked,
    }
}
