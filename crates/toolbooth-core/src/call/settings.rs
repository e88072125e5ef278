use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use super::child::Parent;
use super::{CallContext, Moment, Name};
use crate::error::{TimeoutScope, ToolError};

/// What the caller says of a call. A fork takes a copy, so that another attempt can be given other settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) tool: Name,
    /// What most calls do without, and do not carry about.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct More {
    pub(super) id: Option<Name>,
    pub(super) tenant: Option<Name>,
    pub(super) priority: i32,
    pub(super) idempotent: Option<bool>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) first_item_timeout: Option<Duration>,
    pub(super) deadline: Option<Moment>,
    /// How deep the calls may be nested that it makes.
    pub(super) max_depth: Option<u32>,
    /// Where another call made this one.
    pub(super) parent: Option<Parent>,
    extensions: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

/// When a call is cut at the latest, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "three facts that make up one limit"
)]
pub struct Bound {
    /// The moment.
    pub at: Moment,
    /// Which kind of limit it is.
    pub scope: TimeoutScope,
    /// How long that limit is.
    pub limit: Duration,
}

// === impl Bound ===

impl Bound {
    /// The error of a call that this limit cuts now.
    #[must_use]
    pub fn error(&self, context: &CallContext) -> ToolError {
        ToolError::timeout(self.scope, self.limit, context.elapsed())
    }
}

// === impl Settings ===

impl Settings {
    pub(super) const fn new(tool: Name) -> Self {
        Self { tool, more: None }
    }

    #[inline]
    pub(super) fn more(&self) -> Option<&More> {
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
