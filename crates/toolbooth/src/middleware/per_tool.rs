use std::collections::HashMap;

use toolbooth_core::Name;

/// A setting by tool: a default, and the tools that have another value, or none.
///
/// A layer does not know which tools there are, so a name that no tool has is not an error there.
/// The settings and the policies of a toolbox reject such a name.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::PerTool;
///
/// let limits = PerTool::new(Duration::from_secs(5))
///     .with("file", Duration::from_secs(30))
///     .with("watch", None);
/// assert_eq!(limits.get("db"), Some(&Duration::from_secs(5)));
/// assert_eq!(limits.get("file"), Some(&Duration::from_secs(30)));
/// assert_eq!(limits.get("watch"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerTool<T> {
    default: Option<T>,
    tools: HashMap<Name, Option<T>>,
}

// === impl PerTool ===

impl<T> PerTool<T> {
    /// Sets `default` for all tools that [`with`](Self::with) does not name.
    #[must_use]
    pub fn new(default: T) -> Self {
        Self::from(Some(default))
    }

    /// Sets nothing for tools that [`with`](Self::with) does not name.
    #[must_use]
    pub fn none() -> Self {
        Self::from(None)
    }

    /// Sets another value for one tool, or none.
    #[must_use]
    pub fn with(mut self, tool: impl Into<Name>, value: impl Into<Option<T>>) -> Self {
        self.tools.insert(tool.into(), value.into());
        self
    }

    /// Returns the setting of a tool.
    #[must_use]
    #[inline]
    pub fn get(&self, tool: &str) -> Option<&T> {
        // Mostly no tool is named: then no hash is needed.
        if self.tools.is_empty() {
            return self.default.as_ref();
        }
        self.tools.get(tool).unwrap_or(&self.default).as_ref()
    }

    /// Returns whether no tool has a setting.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.default.is_none() && self.tools.is_empty()
    }

    /// Returns the setting of tools that have none of their own.
    pub(crate) const fn default(&self) -> Option<&T> {
        self.default.as_ref()
    }

    /// Changes the setting of all tools that have none of their own.
    pub(crate) fn set_default(&mut self, value: impl Into<Option<T>>) {
        self.default = value.into();
    }

    /// Changes the setting of one tool.
    pub(crate) fn set(&mut self, tool: Name, value: impl Into<Option<T>>) {
        self.tools.insert(tool, value.into());
    }

    /// Returns whether a tool has a setting of its own.
    pub(crate) fn names(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// Iterates over the tools that have a setting of their own.
    #[cfg(feature = "toolbox")]
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Name> {
        self.tools.keys()
    }

    /// Iterates over all values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.default.iter().chain(self.tools.values().flatten())
    }
}

impl<T> From<T> for PerTool<T> {
    fn from(default: T) -> Self {
        Self::from(Some(default))
    }
}

impl<T> From<Option<T>> for PerTool<T> {
    fn from(default: Option<T>) -> Self {
        Self {
            default,
            tools: HashMap::new(),
        }
    }
}
