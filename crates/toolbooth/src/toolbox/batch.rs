use std::fmt;

use toolbooth_core::Name;

use super::shared::{Entry, Version};
use super::{Tool, ToolSpec, Toolbox, ToolboxError, ToolboxFault};

/// Several changes of a toolbox, which are made at once. Made by [`Toolbox::batch`].
///
/// A call sees all of them or none. The map of tools is copied once for all of them.
///
/// ```
/// use toolbooth::{Toolbox, tool_fn};
///
/// let echo = tool_fn("echo", async |text: String| Ok::<_, std::io::Error>(text));
/// let toolbox = Toolbox::builder().tool("old", echo.clone()).build()?;
/// toolbox.batch().remove("old").insert("new", echo.clone()).apply()?;
/// assert_eq!(toolbox.names(), ["new"]);
///
/// // `new` is there already, so nothing changes.
/// let rejected = toolbox.batch().insert("other", echo.clone()).insert("new", echo).apply();
/// assert_eq!(rejected.err().map(|error| error.faults().len()), Some(1));
/// assert_eq!(toolbox.names(), ["new"]);
/// # Ok::<_, toolbooth::toolbox::ToolboxError>(())
/// ```
#[must_use = "a batch does nothing until `apply`"]
pub struct ToolboxBatch<'a> {
    toolbox: &'a Toolbox,
    changes: Vec<Change>,
    faults: Vec<ToolboxFault>,
}

enum Change {
    Insert(Entry),
    Replace(Entry),
    Remove(Name),
}

// === impl ToolboxBatch ===

impl<'a> ToolboxBatch<'a> {
    pub(super) const fn new(toolbox: &'a Toolbox) -> Self {
        Self {
            toolbox,
            changes: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Adds a tool, as [`Toolbox::insert`].
    pub fn insert(self, spec: impl Into<ToolSpec>, tool: impl Tool) -> Self {
        self.with(spec.into(), tool, Change::Insert)
    }

    /// Replaces a tool, as [`Toolbox::replace`].
    pub fn replace(self, spec: impl Into<ToolSpec>, tool: impl Tool) -> Self {
        self.with(spec.into(), tool, Change::Replace)
    }

    /// Removes a tool, if there is one of this name.
    pub fn remove(mut self, name: impl Into<Name>) -> Self {
        self.changes.push(Change::Remove(name.into()));
        self
    }

    /// Makes the changes, in their order.
    ///
    /// # Errors
    /// All changes that cannot be made. Then none is made.
    pub fn apply(self) -> Result<(), ToolboxError> {
        let Self {
            toolbox,
            changes,
            mut faults,
        } = self;
        toolbox.shared.change(|version| {
            for change in changes {
                faults.extend(change.make(version).err());
            }
            ToolboxError::of(faults)
        })
    }

    fn with(mut self, spec: ToolSpec, tool: impl Tool, change: fn(Entry) -> Change) -> Self {
        match self.toolbox.shared.settings.entry(spec, tool) {
            Ok(entry) => self.changes.push(change(entry)),
            Err(fault) => self.faults.push(fault),
        }
        self
    }
}

impl fmt::Debug for ToolboxBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolboxBatch")
            .field("changes", &self.changes.len())
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

// === impl Change ===

impl Change {
    fn make(self, version: &mut Version) -> Result<(), ToolboxFault> {
        match self {
            Self::Insert(entry) => version.insert(entry),
            Self::Replace(entry) => version.replace(entry).map(drop),
            Self::Remove(name) => {
                version.remove(&name);
                Ok(())
            }
        }
    }
}
