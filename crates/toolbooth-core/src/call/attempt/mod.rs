//! The state behind a context: one attempt of a call, and what all attempts of the call share.
//!
//! An attempt counts the layers that it enters. "Outside of depth d" means the layers 1 to d - 1.
//!
//! Invariants:
//! 1. `ended` is the outermost depth whose part has ended, `State::cancelled` the outermost depth
//!    whose part has cancelled everything inside. Both only move outwards.
//! 2. A fork is cancelled and over with its parent where that happens at a depth that the parent
//!    had entered when the fork was made. Deeper layers of the parent do not touch it.
//! 3. Layers enter and end one after the other, so each atomic of [`Layers`] has one writer at a
//!    time and a store is enough. A layer that runs its inner service on a task is the exception:
//!    from then on `ended` is updated by `fetch_min`.
//! 4. The outermost part ends under the lock of `state`, unless its handle is the only one left.
//!    What registers under that lock therefore sees the end, or is seen by it: a hook is taken by
//!    the end or runs at once, a task is aborted, a token is cancelled.
//! 5. A part that is not the outermost ends without the lock while `has_state` is false. What
//!    registers in that moment may be missed by it, and then belongs to the next part outside.
//! 6. No foreign code runs under the lock: wakers, hooks, tokens and permits are moved out first.

mod cancel;
mod costs;
mod end;
mod expired;
mod held_back;
mod layers;
mod limits;
mod observers;
mod provided;
mod publish;
mod readers;
mod serial;
mod spare;
#[cfg(test)]
mod tests;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use self::cancel::{Cancelled, Scope, Wait};
pub use self::costs::AdjustCost;
use self::costs::Cost;
use self::end::Mark;
use self::expired::Expired;
use self::held_back::HeldBack;
pub(crate) use self::limits::Pass;
use self::limits::{LimitSlot, PassedLimit};
use self::observers::Observers;
pub use self::observers::Reporter;
use self::provided::Provided;
use self::publish::AtomicKeep;
use self::readers::Senders;
use self::serial::serial;
use super::blocking::BlockingWork;
use super::bound::AtomicBound;
use super::canceller::Signal;
use super::cleanup::{Hooks, RunHooks};
use super::clock::AtomicMoment;
use super::kept::Kept;
use super::name::Name;
use super::pulse::Listener;
use super::settings::Settings;
use crate::error::Waited;
use crate::response::Partials;
use crate::sync::lock;

/// A handle to an attempt. Unlike std's `Arc` it counts no weak handles, so each `get_mut` and the
/// last drop need one locked instruction less (`three`: 18 ns).
pub(crate) type AttemptHandle = triomphe::Arc<Attempt>;

/// One attempt of a call.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) settings: Settings,
    lineage: Lineage,
    layers: Layers,
    /// Where something can cancel the attempt from outside, waits for that, or made a child call.
    signal: OnceLock<Arc<Signal>>,
    /// The event sinks of the layers entered.
    observers: Observers,
    /// Whether an events layer with a sink is around.
    is_observed: AtomicBool,
    /// Whether a layer waits for an inner service that is not ready.
    is_unready: AtomicBool,
    /// Whether the start of the tool was reported.
    has_reported_start: AtomicBool,
    /// Whether something reads updates of the attempt.
    has_readers: AtomicBool,
    /// Whether `state` was ever changed: until then neither an end nor a look takes the lock. The
    /// Release store under the lock pairs with the Acquire load in `has_state`.
    has_state: AtomicBool,
    state: Mutex<State>,
}

/// Where an attempt comes from.
#[derive(Debug)]
enum Lineage {
    First(Call),
    Later {
        first: AttemptHandle,
        parent: Option<Link>,
    },
}

/// What all attempts of a call share.
#[derive(Debug)]
struct Call {
    serial: u64,
    started: AtomicMoment,
    /// How many attempts have a number.
    attempts: AtomicU32,
    /// Whether there is, or was, another attempt.
    forked: AtomicBool,
    /// Whether the tool is idempotent, as far as a toolbox knows it.
    tool_is_idempotent: AtomicBool,
    /// Made for the first that is published or provided.
    published: OnceLock<Box<Published>>,
}

/// What few calls have.
#[derive(Debug, Default)]
struct Published {
    /// Partial results, progress and checkpoint.
    partials: Mutex<Partials>,
    /// The values that layers provide.
    provided: Provided,
}

/// The attempt that a fork or a child call is inside of, and how many of its layers that are.
#[derive(Debug, Clone)]
pub(in crate::call) struct Link {
    attempt: AttemptHandle,
    depth: u32,
}

/// What layers write on the fast path.
#[derive(Debug)]
struct Layers {
    /// How many layers have been entered.
    depth: AtomicU32,
    /// The number of the attempt, from 1; 0 until it has one.
    number: AtomicU32,
    /// The outermost part that has ended, and its outcome.
    ended: Mark,
    /// Whether the attempt started the call, and so its clock.
    starts_call: AtomicBool,
    /// Whether a timeout layer is outside of what the attempt enters next.
    timed: AtomicBool,
    /// Whether a layer has ever held the attempt back: until then `is_held_back` takes no lock.
    was_held_back: AtomicBool,
    /// Whether an inner service runs on a task, so that parts may end at the same time.
    on_task: AtomicBool,
    /// The reading of the clock that is carried through a synchronous section.
    reading: AtomicMoment,
    /// The nearest limit of the timeout layers.
    bound: AtomicBound,
    /// The first limits passed; others are in [`RareState::limits`].
    limits: [LimitSlot; 4],
    /// How the outermost partial-result layer keeps what is published.
    keep: AtomicKeep,
}

/// What changes off the fast path, several fields together.
#[derive(Debug)]
struct State {
    /// The outermost cancellation.
    cancelled: Option<Cancelled>,
    /// Whether a layer holds the attempt back.
    held_back: HeldBack,
    /// Cleanup hooks and tasks, until the end takes them.
    hooks: Option<Hooks>,
    /// Whether a layer holds back the latest attempt, of this one and those made inside of it.
    latest_is_held_back: bool,
    /// Boxed, since few attempts have any of it.
    rare: Option<Box<RareState>>,
}

#[derive(Debug, Default)]
struct RareState {
    /// Runs the hooks if a task outlives the call: the innermost cleanup layer on the task, and
    /// its depth.
    runner: Option<(u32, Arc<dyn RunHooks>)>,
    /// Blocking work of this attempt and of everything inside of it.
    blocking: Vec<Weak<BlockingWork>>,
    /// Tokens that are cancelled when everything inside of a depth is cancelled or over.
    scopes: Vec<Scope>,
    /// The outermost layer's wait for cancellation.
    wait: Option<Wait>,
    /// Limits that found no slot in [`Layers::limits`].
    limits: Vec<PassedLimit>,
    /// What limits charged that can be adjusted.
    costs: Vec<Cost>,
    /// What keeps the permits of layers that have not ended, where work keeps them.
    kept: Vec<(PassedLimit, Arc<Kept>)>,
    /// Where the call waited when it ended early.
    waited: Option<Waited>,
    /// The outermost limit that expired, if something observes the attempt.
    expired: Option<Expired>,
    /// Pulses of the timeout layers outside that have an idle or first-item limit.
    listeners: Vec<Listener>,
    /// The readers of updates, until the outermost part ends.
    readers: Option<Senders>,
}

// === impl Attempt ===

impl Attempt {
    /// Creates the first attempt of a call.
    pub(in crate::call) fn first(settings: Settings) -> Self {
        Self::new(settings, Lineage::First(Call::new(serial())))
    }

    #[inline(always)]
    const fn new(settings: Settings, lineage: Lineage) -> Self {
        Self {
            settings,
            lineage,
            layers: Layers::new(),
            signal: OnceLock::new(),
            observers: Observers::none(),
            is_observed: AtomicBool::new(false),
            is_unready: AtomicBool::new(false),
            has_reported_start: AtomicBool::new(false),
            has_readers: AtomicBool::new(false),
            has_state: AtomicBool::new(false),
            state: Mutex::new(State::new()),
        }
    }

    /// Creates another attempt of the same call, inside the layers that this one has entered.
    pub(in crate::call) fn fork(this: &AttemptHandle) -> Self {
        let first = match &this.lineage {
            Lineage::First(_) => this,
            Lineage::Later { first, .. } => first,
        };
        this.call().forked.store(true, Ordering::Release);
        let lineage = Lineage::Later {
            first: AttemptHandle::clone(first),
            parent: Self::inside(this),
        };
        let mut fork = Self::new(this.settings.clone(), lineage);
        fork.signal = this.fork_signal(this.depth());
        fork.layers.inherit(&this.layers);
        fork.is_observed = AtomicBool::new(this.is_observed());
        fork.inherit_listeners(this, true);
        fork.inherit_readers(this);
        fork
    }

    /// Returns the layers that a fork or a child call made now is inside of. Before its first
    /// layer, an attempt is inside of the same layers as what it makes.
    pub(in crate::call) fn inside(this: &AttemptHandle) -> Option<Link> {
        match this.depth() {
            0 => this.link().cloned(),
            depth => Some(Link {
                attempt: AttemptHandle::clone(this),
                depth,
            }),
        }
    }

    fn call(&self) -> &Call {
        match &self.lineage {
            Lineage::First(call) => call,
            Lineage::Later { first, .. } => first.call(),
        }
    }

    /// Returns the layers of the same call that this attempt is inside of.
    #[inline]
    fn link(&self) -> Option<&Link> {
        match &self.lineage {
            Lineage::First(_) => None,
            Lineage::Later { parent, .. } => parent.as_ref(),
        }
    }

    /// Returns the layers that this attempt is inside of: of the same call, otherwise of the calls
    /// above.
    #[inline]
    fn around(&self) -> Option<&Link> {
        self.link()
            .or_else(|| self.settings.parent()?.inside.as_ref())
    }

    /// Returns false if `state` is as it was made: nothing to look at, nothing to notify.
    #[inline]
    pub(crate) fn has_state(&self) -> bool {
        self.has_state.load(Ordering::Acquire)
    }

    /// Locks the state to change it.
    fn change(&self) -> MutexGuard<'_, State> {
        let state = lock(&self.state);
        self.has_state.store(true, Ordering::Release);
        state
    }

    /// Reads or takes from the rare state, if there is any.
    #[inline]
    fn with_rare<T>(&self, read: impl FnOnce(&mut RareState) -> T) -> Option<T> {
        match self.has_state() {
            true => lock(&self.state).rare.as_deref_mut().map(read),
            false => None,
        }
    }

    pub(in crate::call) fn id(&self) -> Name {
        match &self.settings.id {
            Some(id) => id.clone(),
            None => Name::from(format_args!("call-{}", self.serial())),
        }
    }

    /// Sets whether the tool is idempotent, for all attempts: a retry policy outside of what
    /// resolved the tool holds another attempt than the one that was called.
    #[inline]
    pub(crate) fn set_tool_is_idempotent(&self, is_idempotent: bool) {
        let tool = &self.call().tool_is_idempotent;
        tool.store(is_idempotent, Ordering::Release);
    }

    pub(crate) fn tool_is_idempotent(&self) -> bool {
        self.call().tool_is_idempotent.load(Ordering::Acquire)
    }

    pub(in crate::call) fn serial(&self) -> u64 {
        self.call().serial
    }

    /// Returns the number of this attempt, and gives it the next one if it has none.
    pub(in crate::call) fn number(&self) -> u32 {
        let number = &self.layers.number;
        match number.load(Ordering::Acquire) {
            0 => {
                let next = self.call().attempts.fetch_add(1, Ordering::Relaxed) + 1;
                let set = number.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire);
                set.err().unwrap_or(next)
            }
            number => number,
        }
    }
}

impl Call {
    const fn new(serial: u64) -> Self {
        Self {
            serial,
            started: AtomicMoment::none(),
            attempts: AtomicU32::new(0),
            forked: AtomicBool::new(false),
            tool_is_idempotent: AtomicBool::new(false),
            published: OnceLock::new(),
        }
    }

    fn published(&self) -> &Published {
        self.published.get_or_init(Box::default)
    }
}

impl State {
    const fn new() -> Self {
        Self {
            cancelled: None,
            held_back: HeldBack::No,
            hooks: None,
            latest_is_held_back: false,
            rare: None,
        }
    }

    fn hooks(&mut self) -> &mut Hooks {
        self.hooks.get_or_insert_default()
    }

    fn rare(&mut self) -> &mut RareState {
        self.rare.get_or_insert_default()
    }
}
