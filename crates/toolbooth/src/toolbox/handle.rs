use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use toolbooth_core::{Name, ToolError};

#[cfg(feature = "policy")]
use super::Version;
use super::shared::Shared;
use super::{ResolvedTool, Tool, ToolSpec, ToolboxBatch, ToolboxBuilder, ToolboxError};

/// Many tools behind one service, which calls them by name. See the [module](super).
///
/// Clones are handles to the same tools.
#[derive(Clone)]
pub struct Toolbox {
    pub(super) shared: Arc<Shared>,
}

/// Notifies of changes of a toolbox. Made by [`Toolbox::changes`].
#[derive(Debug, Clone)]
pub struct ToolboxChanges(watch::Receiver<()>);

// === impl Toolbox ===

impl Toolbox {
    /// Creates a builder of a toolbox.
    pub fn builder() -> ToolboxBuilder {
        ToolboxBuilder::new()
    }

    /// Adds a tool. Calls that come later find it.
    ///
    /// It copies the map of tools, about a millisecond with 10,000 tools. The
    /// [builder](Self::builder) does not.
    ///
    /// # Errors
    /// If there is a tool of this name already, or the description is invalid. Nothing changes.
    pub fn insert(&self, spec: impl Into<ToolSpec>, tool: impl Tool) -> Result<(), ToolboxError> {
        let entry = self.shared.settings.entry(spec.into(), tool)?;
        // A tool that is rejected is dropped without the lock.
        Ok(self
            .shared
            .change(|version| version.insert(entry.clone()))?)
    }

    /// Replaces the tool of this name and its description. Returns the previous description.
    ///
    /// A name alone is a description without a schema and without annotations. To keep those of
    /// the tool, pass the [`spec`](ResolvedTool::spec) that [`get`](Self::get) returns.
    ///
    /// Calls in flight stay on the tool that they were resolved to. It is dropped after the last of
    /// them.
    ///
    /// # Errors
    /// If there is no tool of this name, or the description is invalid. Nothing changes.
    pub fn replace(
        &self,
        spec: impl Into<ToolSpec>,
        tool: impl Tool,
    ) -> Result<ToolSpec, ToolboxError> {
        let entry = self.shared.settings.entry(spec.into(), tool)?;
        // A tool that is rejected is dropped without the lock.
        let previous = self
            .shared
            .change(|version| version.replace(entry.clone()))?;
        Ok(previous.spec.clone())
    }

    /// Removes a tool. Returns its description, or `None` if there is no tool of this name.
    ///
    /// Calls in flight stay on the tool.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the description is optional"
    )]
    pub fn remove(&self, name: &str) -> Option<ToolSpec> {
        let removed = self.shared.change(|version| version.remove(name).ok_or(()));
        removed.ok().map(|entry| entry.spec.clone())
    }

    /// Begins several changes, which are made at once.
    pub const fn batch(&self) -> ToolboxBatch<'_> {
        ToolboxBatch::new(self)
    }

    /// Returns one tool as a service of its own, if there is a tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ResolvedTool> {
        let entry = Arc::clone(self.shared.version().get(name)?);
        Some(ResolvedTool {
            shared: Arc::clone(&self.shared),
            entry,
        })
    }

    /// Returns one tool as a service of its own, as [`get`](Self::get) does.
    ///
    /// # Errors
    /// That of a call of that name: [`ToolError::UnknownTool`] with the nearest names, or the error
    /// of [`with_unknown_tool`](ToolboxBuilder::with_unknown_tool).
    pub fn resolve(&self, name: &str) -> Result<ResolvedTool, ToolError> {
        self.get(name).ok_or_else(|| self.shared.unknown(name))
    }

    /// Returns whether there is a tool of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.shared.version().get(name).is_some()
    }

    /// Returns the number of tools.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.version().len()
    }

    /// Returns whether there are no tools.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the descriptions of all tools, sorted by name.
    #[must_use]
    pub fn specs(&self) -> Vec<ToolSpec> {
        let version = self.shared.version();
        let tools = version.sorted().into_iter();
        tools.map(|entry| entry.spec.clone()).collect()
    }

    /// Returns the names of all tools, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let version = self.shared.version();
        let tools = version.sorted().into_iter();
        tools.map(|entry| entry.spec.tool_name().clone()).collect()
    }

    /// Returns the tools as they are now, with their layers, and the number of layers for all.
    #[cfg(feature = "policy")]
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Version, usize) -> T) -> T {
        read(&self.shared.version(), self.shared.settings.layers.len())
    }

    /// Replaces the layers around the tools. If it fails, nothing happens.
    #[cfg(feature = "policy")]
    pub(crate) fn change_stacks<T, E>(
        &self,
        change: impl FnOnce(&mut Version) -> Result<T, E>,
    ) -> Result<T, E> {
        self.shared.update(change)
    }

    /// Returns what notifies of later changes.
    #[must_use]
    pub fn changes(&self) -> ToolboxChanges {
        ToolboxChanges(self.shared.subscribe())
    }
}

/// Shows the name and the number of tools.
impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toolbox")
            .field("name", &self.shared.settings.name)
            .field("tools", &self.len())
            .finish_non_exhaustive()
    }
}

// === impl ToolboxChanges ===

impl ToolboxChanges {
    /// Waits until a tool is inserted, replaced or removed, since the last wait or since
    /// [`Toolbox::changes`]. Several changes count as one.
    ///
    /// Returns `false` once the toolbox has no handle left.
    ///
    /// # Cancel safety
    /// Safe: no change is lost.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
