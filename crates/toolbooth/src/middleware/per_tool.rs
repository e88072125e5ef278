use std::collections::HashMap;

use toolbooth_core::Name;

/// A setting that may differ by tool: a default, and the tools that have another one, or none.
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
    /// The same for all tools, but for those that [`with`](Self::with) names.
    #[must_use]
    pub fn new(default: T) -> Self {
        Self::from(Some(default))
    }

    /// Nothing for any tool, but for those that [`with`](Self::with) names.
    #[must_use]
    pub fn none() -> Self {
        Self::from(None)
    }

    /// Another setting for one tool; `None` for none.
    #[must_use]
    pub fn with(mut self, tool: impl Into<Name>, value: impl Into<Option<T>>) -> Self {
        self.tools.insert(tool.into(), value.into());
        self
    }

    /// The setting of a tool.
    #[must_use]
    #[inline]
    pub fn get(&self, tool: &str) -> Option<&T> {
        // The usual case names no tool, and must not pay for a hash.
        if self.tools.is_empty() {
            return self.default.as_ref();
        }
        self.tools.get(tool).unwrap_or(&self.default).as_ref()
    }

    /// Changes the setting of all tools that have none of their own.
    pub(crate) fn set_default(&mut self, value: impl Into<Option<T>>) {
        self.default = value.into();
    }

    /// Changes the setting of one tool.
    pub(crate) fn set(&mut self, tool: Name, value: impl Into<Option<T>>) {
        self.tools.insert(tool, value.into());
    }

    /// Whether one has a setting of its own.
    pub(crate) fn names(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// Every setting that is given.
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
