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

mod beats;
mod ends;
mod held;
mod hooks;
mod keep;
mod lines;
mod owner;
mod serial;
mod spare;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::sync::Notify;

pub(crate) use self::owner::Cut;

use self::ends::{OPEN, RARE};
use self::held::Held;
use self::keep::Keep;
use self::lines::Lines;
use self::owner::Owner;
use self::serial::serial;
use super::Name;
use super::blocking::Blocking;
use super::canceller::Signal;
use super::cleanup::{Hooks, RunHooks};
use super::clock::{AtomicMoment, Moment};
use super::pulse::Pulses;
use super::settings::{Bound, Settings, Term};
use crate::error::TimeoutScope;
use crate::response::Partials;

/// One attempt of a call.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) settings: Settings,
    /// What all attempts of the call share, in the first one.
    call: Call,
    /// Where this is not the first one.
    origin: Option<Origin>,
    /// The depth up to which it is inside of its parent's layers, where it has one.
    inside: u32,
    number: AtomicU32,
    depth: AtomicU32,
    /// Whether a timeout layer stands around what the attempt enters next.
    timed: AtomicBool,
    held: Held,
    /// Outcome of the outermost part, once it has ended; and whether there is a `rare`.
    ended: AtomicU32,
    /// Depth and outcome of the outermost other part that has ended.
    closed: AtomicU32,
    /// Depth and reason of the outermost cut.
    cancelled: AtomicU32,
    /// The reading of the clock that is carried in this synchronous stretch.
    reading: AtomicMoment,
    bound_at: AtomicMoment,
    bound_term: AtomicU64,
    keep: Keep,
    /// The depth of the layer that set it; 0 where that was one of another attempt.
    keeper: AtomicU32,
    /// Two lines; the others are in `rare`.
    lines: Lines,
    rare: OnceLock<Box<Rare>>,
}

/// Where an attempt comes from that is not the first of its call.
#[derive(Debug)]
struct Origin {
    first: Arc<Attempt>,
    parent: Option<Arc<Attempt>>,
}

#[derive(Debug)]
struct Call {
    serial: AtomicU64,
    started: AtomicMoment,
    attempts: AtomicU32,
    forked: AtomicBool,
    shared: OnceLock<Box<Shared>>,
}

/// What few calls have, allocated when the first attempt needs it.
#[derive(Debug, Default)]
struct Shared {
    partials: Mutex<Partials>,
    /// Where somebody has the means to cancel the call.
    signal: OnceLock<Arc<Signal>>,
}

/// From a fork to what it was forked from: it is inside the layers up to `depth`.
#[derive(Debug, Clone, Copy)]
struct Link<'a> {
    attempt: &'a Arc<Attempt>,
    depth: u32,
}

/// What few attempts need, allocated by the first that does.
#[derive(Debug, Default)]
struct Rare {
    /// Told whenever the attempt is cut or closed.
    gone: Notify,
    hooks: Mutex<Hooks>,
    /// By the innermost cleanup layer on a task, and its depth: who runs the hooks if the task outlives the call.
    runner: Mutex<Option<(u32, Arc<dyn RunHooks>)>>,
    /// Forks in which somebody waits for the cut.
    forks: Mutex<Vec<Weak<Attempt>>>,
    owner: OnceLock<Owner>,
    /// What cancels the calls that it made.
    children: Mutex<Vec<Weak<Signal>>>,
    blocking: Blocking,
    /// Lines of which it holds a permit, and at which depth.
    lines: Mutex<Vec<(usize, u32)>>,
    /// Of the timeout layers around that have an idle limit.
    pulses: Pulses,
}

// === impl Attempt ===

impl Attempt {
    pub(in crate::call) fn first(settings: Settings) -> Self {
        Self::new(settings, serial(), None)
    }

    /// Another attempt of the same call, inside the layers that this one has entered.
    pub(in crate::call) fn fork(self: &Arc<Self>) -> Self {
        let first = self.origin.as_ref().map_or(self, |origin| &origin.first);
        first.call.forked.store(true, Ordering::Release);
        let parent = match self.depth.load(Ordering::Acquire) {
            // Forked before it entered any layer: inside the same layers as this one, not inside this one.
            0 => self.parent(),
            depth => Some(Link {
                attempt: self,
                depth,
            }),
        };
        let origin = Origin {
            first: Arc::clone(first),
            parent: parent.map(|link| Arc::clone(link.attempt)),
        };
        let mut fork = Self::new(self.settings.clone(), self.serial(), Some(origin));
        fork.inside = parent.map_or(0, |link| link.depth);
        fork.timed = AtomicBool::new(self.is_timed());
        fork.bound_at.set(self.bound_at.get());
        fork.bound_term = AtomicU64::new(self.bound_term.load(Ordering::Acquire));
        fork.keep = self.keep.copy();
        fork.listen_as(self);
        fork
    }

    #[inline(always)]
    const fn new(settings: Settings, serial: u64, origin: Option<Origin>) -> Self {
        Self {
            settings,
            call: Call {
                serial: AtomicU64::new(serial),
                started: AtomicMoment::none(),
                attempts: AtomicU32::new(0),
                forked: AtomicBool::new(false),
                shared: OnceLock::new(),
            },
            origin,
            inside: 0,
            number: AtomicU32::new(0),
            depth: AtomicU32::new(0),
            timed: AtomicBool::new(false),
            held: Held::free(),
            ended: AtomicU32::new(0),
            closed: AtomicU32::new(OPEN),
            cancelled: AtomicU32::new(OPEN),
            reading: AtomicMoment::none(),
            bound_at: AtomicMoment::none(),
            bound_term: AtomicU64::new(0),
            keep: Keep::none(),
            keeper: AtomicU32::new(0),
            lines: Lines::free(),
            rare: OnceLock::new(),
        }
    }

    fn call(&self) -> &Call {
        match &self.origin {
            None => &self.call,
            Some(origin) => &origin.first.call,
        }
    }

    /// What this attempt is inside of, where that is another one.
    fn parent(&self) -> Option<Link<'_>> {
        let attempt = self.origin.as_ref()?.parent.as_ref()?;
        let depth = self.inside;
        Some(Link { attempt, depth })
    }

    fn rare(&self) -> &Rare {
        let rare = self.rare.get_or_init(Box::default);
        self.ended.fetch_or(RARE, Ordering::AcqRel);
        // With the fence in `tell`: either this side sees a cut, or that side sees the waiter; and so with the one in `signal`.
        fence(Ordering::SeqCst);
        rare
    }

    #[inline]
    pub(crate) fn has_rare(&self) -> bool {
        self.rare.get().is_some()
    }

    pub(in crate::call) fn id(&self) -> Name {
        match &self.settings.id {
            Some(id) => id.clone(),
            None => Name::from(format_args!("call-{}", self.serial())),
        }
    }

    pub(in crate::call) fn serial(&self) -> u64 {
        self.call.serial.load(Ordering::Relaxed)
    }

    pub(in crate::call) fn number(&self) -> u32 {
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

    pub(in crate::call) fn started(&self) -> Option<Moment> {
        self.call().started.get()
    }

    pub(in crate::call) fn now(&self) -> Moment {
        self.reading.get().unwrap_or_else(Moment::now)
    }

    /// Carries a reading, or none any more.
    pub(in crate::call) fn carry_reading(&self, reading: Option<Moment>) {
        self.reading.set(reading);
    }

    // --- layers

    /// Counts one more layer; gives its depth, and whether it is the first of the call and started its clock.
    #[inline]
    pub(crate) fn enter(self: &Arc<Self>) -> (u32, bool) {
        let depth = self.depth.load(Ordering::Relaxed) + 1;
        self.depth.store(depth, Ordering::Release);
        (depth, depth == 1 && self.start())
    }

    /// The outermost layer numbers the attempt. True where it starts the call, too.
    #[inline]
    fn start(self: &Arc<Self>) -> bool {
        let call = &self.call;
        if self.is_plain() && call.shared.get().is_none() && !call.forked.load(Ordering::Acquire) {
            // Nobody has cloned the call, and its owner is here: there is no other attempt to tell this one from.
            call.attempts.store(1, Ordering::Release);
            self.number.store(1, Ordering::Release);
            call.started.set(Some(Moment::now()));
            return true;
        }
        self.start_among_others()
    }

    #[cold]
    fn start_among_others(self: &Arc<Self>) -> bool {
        let call = self.call();
        if call.forked.load(Ordering::Acquire) {
            self.number();
            self.try_again();
        } else {
            call.attempts.store(1, Ordering::Release);
            self.number.store(1, Ordering::Release);
        }
        self.join();
        let started = &call.started;
        if started.get().is_some() {
            return false;
        }
        started.set(Some(Moment::now()));
        true
    }

    /// Whether the caller said nothing but the tool's name and the call's id, the attempt is the call's first, and it has nothing rare: so there
    /// is no deadline, nobody above and nobody who can cut it.
    #[inline]
    pub(in crate::call) fn is_plain(&self) -> bool {
        self.settings.more().is_none() && self.origin.is_none() && self.rare.get().is_none()
    }

    /// Whether no timeout layer had been entered yet.
    pub(crate) fn enter_timeout(&self) -> bool {
        let outermost = !self.is_timed();
        self.timed.store(true, Ordering::Release);
        outermost
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn narrow(&self, bound: Bound) {
        self.bound_term.store(bound.term().0, Ordering::Release);
        self.bound_at.set(Some(bound.at()));
    }

    /// The nearest limit around the attempt, the caller's deadline among them.
    pub(in crate::call) fn bound(&self) -> Option<Bound> {
        let around = self.bound_at.get().map(|at| self.bound_of_layer(at));
        let Some(deadline) = self.deadline() else {
            return around;
        };
        if around.is_some_and(|around| around.at() <= deadline) {
            return around;
        }
        Some(self.bound_of_caller(deadline))
    }

    /// The caller's own deadline.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.settings.more()?.deadline()
    }

    pub(crate) fn bound_of_caller(&self, deadline: Moment) -> Bound {
        let started = self.started().unwrap_or_else(Moment::now);
        let limit = deadline.since(started);
        Bound::new(deadline, TimeoutScope::Deadline, limit)
    }

    fn bound_of_layer(&self, at: Moment) -> Bound {
        Bound::of(at, Term(self.bound_term.load(Ordering::Acquire)))
    }
}

// === impl Call ===

impl Call {
    fn shared(&self) -> &Shared {
        self.shared.get_or_init(Box::default)
    }

    /// What cancels the call, where somebody asked for that.
    fn signal(&self) -> Option<&Arc<Signal>> {
        self.shared.get()?.signal.get()
    }
}
