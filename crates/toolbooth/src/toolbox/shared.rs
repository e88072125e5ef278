//! The tools of a toolbox: immutable versions, replaced as a whole.
//!
//! Invariants:
//! 1. A call loads one version, once. It keeps the tool that it found there.
//! 2. `writer` is held while a version is copied and replaced. No foreign code runs meanwhile: a
//!    tool is wrapped before, and a removed one is dropped after.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use toolbooth_core::{LayerName, Name, ToolError};

use super::error::{MAX_NAME, check_spec, shortened};
#[cfg(feature = "policy")]
use super::events::StackEvents;
use super::gate::Gate;
use super::nearest::nearest;
#[cfg(feature = "validate")]
use super::schema::{OutputSchema, Schema};
use super::stacks::{Stacked, Stacks};
use super::tool::ToolService;
use super::{Tool, ToolSpec, ToolboxFault};
use crate::PerTool;
use crate::middleware::sync::{Mutex, lock};
#[cfg(feature = "policy")]
use crate::shared::SharedStore;

/// Returns the error of a call of an unknown tool.
pub(super) type UnknownError = Box<dyn Fn(&str) -> Option<ToolError> + Send + Sync>;

/// A layer for all tools.
pub(super) type ToolLayer = Box<dyn Fn(ToolService) -> ToolService + Send + Sync>;

/// What all handles of a toolbox share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    version: ArcSwap<Version>,
    writer: Mutex<()>,
    changed: watch::Sender<()>,
}

/// The settings of a toolbox, for the tools that it has and for those that come later.
pub(super) struct Settings {
    pub(super) name: LayerName,
    /// The outermost first.
    pub(super) layers: Vec<ToolLayer>,
    pub(super) gate: Option<Gate>,
    pub(super) gate_name: LayerName,
    pub(super) gate_limit: PerTool<Duration>,
    pub(super) idempotent: PerTool<bool>,
    pub(super) unknown: Option<UnknownError>,
    #[cfg(feature = "validate")]
    pub(super) validates: bool,
}

/// The tools at one time.
#[derive(Clone, Default)]
pub(crate) struct Version {
    tools: HashMap<Name, Arc<Entry>>,
    /// The layers that can change.
    stacks: Option<Arc<dyn Stacks>>,
    /// The sink of these layers, the same in each version.
    #[cfg(feature = "policy")]
    events: StackEvents,
    /// Where the limits of policies are, and the name that theirs begin with, if in a store.
    #[cfg(feature = "policy")]
    store: Option<(SharedStore, Name)>,
}

/// A tool with its layers.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) spec: ToolSpec,
    /// The tool with the layers of the toolbox.
    tool: ToolService,
    /// The same, with the layers that can change.
    pub(super) service: ToolService,
    is_annotated_idempotent: bool,
    pub(super) is_idempotent: bool,
    pub(super) gate_limit: Option<Duration>,
    /// Checks the arguments, if the toolbox is to.
    #[cfg(feature = "validate")]
    pub(super) arguments: Option<Schema>,
    #[cfg(feature = "validate")]
    pub(super) output: OutputSchema,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(settings: Settings, version: Version) -> Self {
        Self {
            settings,
            version: ArcSwap::from_pointee(version),
            writer: Mutex::new(()),
            changed: watch::Sender::new(()),
        }
    }

    /// Returns the tools as they are now.
    #[inline]
    pub(super) fn version(&self) -> arc_swap::Guard<Arc<Version>> {
        self.version.load()
    }

    /// Returns the error of a call of an unknown tool. No version is loaded while the hook runs.
    pub(super) fn unknown(&self, name: &str) -> ToolError {
        let unknown = self.settings.unknown.as_ref();
        // A name of a megabyte is not searched for.
        let unknown = unknown.filter(|_| name.len() <= MAX_NAME);
        let error = unknown.and_then(|unknown| unknown(name));
        error.unwrap_or_else(|| self.version().unknown(name))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Replaces the version by a changed copy. If the change fails, nothing happens.
    pub(super) fn change<T, E>(
        &self,
        change: impl FnOnce(&mut Version) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.update(change)?;
        self.changed.send_replace(());
        Ok(result)
    }

    /// As [`change`](Self::change), for a change that keeps the tools. It is not notified.
    pub(super) fn update<T, E>(
        &self,
        change: impl FnOnce(&mut Version) -> Result<T, E>,
    ) -> Result<T, E> {
        // Dropped last, without the lock.
        #[cfg(feature = "policy")]
        let _hold = self.version.load().events.hold();
        let writer = lock(&self.writer);
        let mut version = Version::clone(&self.version.load());
        let result = change(&mut version)?;
        let previous = self.version.swap(Arc::new(version));
        drop(writer);
        // Drops removed tools, without the lock.
        drop(previous);
        Ok(result)
    }
}

// === impl Settings ===

impl Settings {
    /// Checks a tool, and wraps it by the layers.
    pub(super) fn entry(&self, spec: ToolSpec, tool: impl Tool) -> Result<Entry, ToolboxFault> {
        self.entry_of(spec, ToolService::new(tool))
    }

    pub(super) fn entry_of(
        &self,
        spec: ToolSpec,
        tool: ToolService,
    ) -> Result<Entry, ToolboxFault> {
        let name = spec.name();
        check_spec(&spec)?;
        let layers = self.layers.iter().rev();
        let tool = layers.fold(tool, |inner, layer| layer(inner));
        let annotated = spec.annotations().is_idempotent();
        let is_idempotent = self.idempotent.get(name).copied().unwrap_or(annotated);
        Ok(Entry {
            service: tool.clone(),
            tool,
            is_annotated_idempotent: is_idempotent,
            is_idempotent,
            gate_limit: self.gate_limit.get(name).copied(),
            #[cfg(feature = "validate")]
            arguments: self.arguments(&spec)?,
            #[cfg(feature = "validate")]
            output: OutputSchema::default(),
            spec,
        })
    }
}

#[cfg(feature = "validate")]
impl Settings {
    fn arguments(&self, spec: &ToolSpec) -> Result<Option<Schema>, ToolboxFault> {
        if !self.validates {
            return Ok(None);
        }
        let compiled = Schema::new(spec.input_schema());
        compiled
            .map(Some)
            .map_err(|message| ToolboxFault::invalid_schema(spec, "input", message))
    }
}

// === impl Version ===

impl Version {
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        // A name of a megabyte is not hashed.
        match name.len() <= MAX_NAME {
            true => self.tools.get(name),
            false => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tools.len()
    }

    /// Returns the tools in the order of their names.
    pub(super) fn sorted(&self) -> Vec<&Arc<Entry>> {
        let mut tools: Vec<_> = self.tools.values().collect();
        tools.sort_unstable_by(|a, b| a.spec.name().cmp(b.spec.name()));
        tools
    }

    /// Adds a tool.
    pub(super) fn insert(&mut self, entry: Entry) -> Result<(), ToolboxFault> {
        let name = entry.spec.tool_name().clone();
        if self.tools.contains_key(&name) {
            return Err(ToolboxFault::Duplicate { name });
        }
        let entry = self.with_stack(entry);
        self.tools.insert(name, Arc::new(entry));
        Ok(())
    }

    fn with_stack(&self, entry: Entry) -> Entry {
        match &self.stacks {
            None => entry,
            Some(stacks) => {
                let stack = stacks.stack(entry.spec.name(), entry.tool.clone());
                entry.with_stack(stack)
            }
        }
    }

    /// Returns the layers that can change.
    #[cfg(feature = "policy")]
    pub(crate) fn stacks(&self) -> Option<&dyn Stacks> {
        self.stacks.as_deref()
    }

    /// Returns the sink of the layers that can change.
    #[cfg(feature = "policy")]
    pub(crate) const fn events(&self) -> &StackEvents {
        &self.events
    }

    #[cfg(feature = "policy")]
    pub(super) fn set_events(&mut self, events: StackEvents) {
        self.events = events;
    }

    /// Returns where the limits of policies are, if they are in a store.
    #[cfg(feature = "policy")]
    pub(crate) const fn store(&self) -> Option<&(SharedStore, Name)> {
        self.store.as_ref()
    }

    #[cfg(feature = "policy")]
    pub(super) fn set_store(&mut self, store: Option<(SharedStore, Name)>) {
        self.store = store;
    }

    /// Replaces the layers that can change, around each tool, and for tools that are inserted
    /// later.
    #[cfg(feature = "policy")]
    pub(crate) fn set_stacks(
        &mut self,
        stacks: Arc<dyn Stacks>,
        mut stack: impl FnMut(&Name, ToolService) -> Stacked,
    ) {
        for (name, entry) in &mut self.tools {
            let stack = stack(name, entry.tool.clone());
            *entry = Arc::new(Entry::clone(entry).with_stack(stack));
        }
        self.stacks = Some(stacks);
    }

    /// Returns the names of the tools.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.tools.keys()
    }

    /// Replaces a tool. Returns the previous one.
    pub(super) fn replace(&mut self, entry: Entry) -> Result<Arc<Entry>, ToolboxFault> {
        let entry = self.with_stack(entry);
        match self.tools.get_mut(entry.spec.name()) {
            Some(slot) => Ok(std::mem::replace(slot, Arc::new(entry))),
            None => Err(self.fault("`replace`", entry.spec.name())),
        }
    }

    /// Removes a tool.
    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Entry>> {
        let removed = self.tools.remove(name)?;
        if let Some(stacks) = &self.stacks {
            stacks.forget(&|name| self.tools.contains_key(name));
        }
        Some(removed)
    }

    /// Returns the fault of a setting or a change that names an unknown tool.
    pub(super) fn fault(&self, what: &'static str, name: &str) -> ToolboxFault {
        ToolboxFault::UnknownTool {
            what,
            name: shortened(name),
            nearest: nearest(name, self.names()),
        }
    }

    /// Returns the error of a call of an unknown tool.
    pub(super) fn unknown(&self, name: &str) -> ToolError {
        ToolError::unknown_tool(shortened(name)).with_nearest(nearest(name, self.names()))
    }
}

// === impl Entry ===

impl Entry {
    fn with_stack(self, stack: Stacked) -> Self {
        let is_annotated = self.is_annotated_idempotent;
        Self {
            service: stack.service,
            is_idempotent: stack.is_idempotent.unwrap_or(is_annotated),
            ..self
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
