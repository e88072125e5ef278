//! What the caller sets for a call.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use super::child::Parent;
use super::clock::Moment;
use super::name::Name;

/// What the caller sets for a call. Immutable once an attempt is made of it; a fork gets a copy.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) tool: Name,
    pub(super) id: Option<Name>,
    pub(super) tenant: Option<Name>,
    /// The caller's deadline; for a child call at most the end of the parent call.
    pub(crate) deadline: Option<Moment>,
    pub(super) priority: i32,
    pub(super) idempotent: Option<bool>,
    /// Boxed, since few calls set any of these and every running call pays for their size.
    rare: Option<Box<RareSettings>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RareSettings {
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) first_item_timeout: Option<Duration>,
    /// By which a layer recognizes a repeated call. Child calls do not inherit it.
    pub(super) idempotency_key: Option<Name>,
    /// How deep the calls may be nested that this one makes.
    pub(super) max_depth: Option<u32>,
    /// The call that made this one.
    pub(super) parent: Option<Parent>,
    extensions: Vec<Extension>,
}

/// A value with its type, of which there is one of each.
pub(super) type Extension = (TypeId, Arc<dyn Any + Send + Sync>);

// === impl Settings ===

impl Settings {
    #[inline(always)]
    pub(super) const fn new(tool: Name) -> Self {
        Self {
            tool,
            id: None,
            tenant: None,
            deadline: None,
            priority: 0,
            idempotent: None,
            rare: None,
        }
    }

    /// Returns the settings of a call that a call with these settings makes.
    pub(super) fn child(&self, tool: Name, parent: Parent) -> Self {
        let above = self.rare.as_deref();
        Self {
            tool,
            id: None,
            tenant: self.tenant.clone(),
            deadline: parent.cap,
            priority: self.priority,
            idempotent: None,
            rare: Some(Box::new(RareSettings {
                max_depth: above.and_then(|above| above.max_depth),
                parent: Some(parent),
                extensions: above.map_or_else(Vec::new, |above| above.extensions.clone()),
                ..RareSettings::default()
            })),
        }
    }

    /// Returns a copy with this id.
    pub(super) fn with_id(&self, id: Name) -> Self {
        let id = Some(id);
        Self { id, ..self.clone() }
    }

    /// Sets the caller's deadline, capped by the end of the parent call.
    pub(super) fn set_deadline(&mut self, deadline: Moment) {
        let cap = self.parent().and_then(|parent| parent.cap);
        self.deadline = Some(cap.map_or(deadline, |cap| cap.min(deadline)));
    }

    #[inline]
    pub(crate) fn rare(&self) -> Option<&RareSettings> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> &mut RareSettings {
        self.rare.get_or_insert_default()
    }

    #[inline]
    pub(super) fn parent(&self) -> Option<&Parent> {
        self.rare()?.parent.as_ref()
    }

    pub(super) fn insert_extension<T: Send + Sync + 'static>(&mut self, value: T) {
        let extensions = &mut self.rare_mut().extensions;
        extensions.retain(|(id, _)| *id != TypeId::of::<T>());
        extensions.push((TypeId::of::<T>(), Arc::new(value)));
    }

    /// Adds what layers have provided to the caller, where the caller has no value of that type.
    pub(super) fn inherit_provided<'a>(&mut self, provided: impl Iterator<Item = &'a Extension>) {
        let own = self.rare.as_ref().map_or(0, |rare| rare.extensions.len());
        for (id, value) in provided {
            let extensions = &mut self.rare_mut().extensions;
            match extensions.iter().position(|(of, _)| of == id) {
                Some(at) if at < own => {}
                Some(at) => extensions[at].1 = Arc::clone(value),
                None => extensions.push((*id, Arc::clone(value))),
            }
        }
    }

    pub(super) fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut extensions = self.rare()?.extensions.iter();
        let (_, value) = extensions.find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}
