use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::child::Parent;
use super::clock::nanos;
use super::{CallContext, Moment, Name};
use crate::error::{TimeoutScope, ToolError};

/// What the caller says of a call. A fork takes a copy, so that another attempt can be given other settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) tool: Name,
    pub(super) id: Option<Name>,
    /// What most calls do without, and do not carry about.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct More {
    pub(super) tenant: Option<Name>,
    pub(super) priority: i32,
    pub(super) idempotent: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) first_item_timeout: Option<Duration>,
    pub(super) deadline: Option<Moment>,
    /// How deep the calls may be nested that it makes.
    pub(super) max_depth: Option<u32>,
    /// Where another call made this one.
    pub(super) parent: Option<Parent>,
    extensions: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

/// When a call is cut at the latest, and by what.
///
/// Two whole words, as is an `Option` of it: it moves with every call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    at: Moment,
    term: Term,
}

/// Which kind of limit it is, in the lowest bits, and how many nanoseconds long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term(pub(super) u64);

// === impl Bound ===

impl Bound {
    /// A limit of this kind that cuts `at` this moment, and is so long: what errors tell of it, up to some decades.
    #[must_use]
    #[inline(always)]
    pub fn new(at: Moment, scope: TimeoutScope, limit: Duration) -> Self {
        let term = Term::new(scope, limit);
        Self { at, term }
    }

    /// A limit that begins `now`; `None` where the clock cannot say when it ends.
    #[must_use]
    #[inline(always)]
    pub fn after(now: Moment, scope: TimeoutScope, limit: Duration) -> Option<Self> {
        Some(Self::new(now.after(limit)?, scope, limit))
    }

    /// The moment.
    #[must_use]
    #[inline]
    pub const fn at(&self) -> Moment {
        self.at
    }

    /// Which kind of limit it is.
    #[must_use]
    pub const fn scope(&self) -> TimeoutScope {
        match self.term.0 & Term::SCOPE {
            1 => TimeoutScope::Deadline,
            2 => TimeoutScope::Idle,
            3 => TimeoutScope::FirstItem,
            4 => TimeoutScope::Foreign,
            _ => TimeoutScope::Total,
        }
    }

    /// How long that limit is.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        Duration::from_nanos(self.term.0 >> Term::BITS)
    }

    /// The error of a call that this limit cuts now.
    #[must_use]
    pub fn error(&self, context: &CallContext) -> ToolError {
        ToolError::timeout(self.scope(), self.limit(), context.elapsed())
    }

    pub(super) const fn of(at: Moment, term: Term) -> Self {
        Self { at, term }
    }

    pub(super) const fn term(&self) -> Term {
        self.term
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("at", &self.at)
            .field("scope", &self.scope())
            .field("limit", &self.limit())
            .finish()
    }
}

// === impl Term ===

impl Term {
    const BITS: u32 = 3;
    const SCOPE: u64 = (1 << Self::BITS) - 1;

    #[inline(always)]
    fn new(scope: TimeoutScope, limit: Duration) -> Self {
        let scope = match scope {
            TimeoutScope::Total => 0,
            TimeoutScope::Deadline => 1,
            TimeoutScope::Idle => 2,
            TimeoutScope::FirstItem => 3,
            TimeoutScope::Foreign => 4,
        };
        let longest = u64::MAX >> Self::BITS;
        let limit = nanos(limit).map_or(longest, |nanos| nanos.min(longest));
        Self(limit << Self::BITS | scope)
    }
}

// === impl Settings ===

impl Settings {
    #[inline(always)]
    pub(super) const fn new(tool: Name) -> Self {
        Self {
            tool,
            id: None,
            more: None,
        }
    }

    /// Whether they say nothing but that it is this tool.
    #[inline]
    pub(super) fn say_only(&self, tool: &Name) -> bool {
        self.id.is_none() && self.more.is_none() && self.tool == *tool
    }

    /// Whether the names are held in place.
    #[inline]
    pub(super) fn are_short(&self) -> bool {
        let is_short = |name: &Name| !name.is_allocated();
        is_short(&self.tool) && self.id.as_ref().is_none_or(is_short)
    }

    #[inline]
    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }

    #[inline]
    pub(super) fn parent(&self) -> Option<&Parent> {
        self.more()?.parent.as_ref()
    }

    pub(super) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

// === impl More ===

impl More {
    /// What a nested call has of the one that makes it.
    pub(super) fn inherit(&mut self, above: &Self) {
        self.tenant.clone_from(&above.tenant);
        self.priority = above.priority;
        self.max_depth = above.max_depth;
        self.extensions.clone_from(&above.extensions);
    }

    /// The caller's own deadline, or that of the call above, whichever comes first.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let cap = self.parent.as_ref().and_then(|parent| parent.cap);
        self.deadline.into_iter().chain(cap).min()
    }

    pub(super) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.extensions.retain(|(id, _)| *id != TypeId::of::<T>());
        self.extensions.push((TypeId::of::<T>(), Arc::new(value)));
    }

    pub(super) fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let (_, value) = self
            .extensions
            .iter()
            .find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}
