use serde::{Deserialize, Serialize};

/// Hints about the effects of a tool, with the names and the defaults of MCP.
///
/// ```
/// use toolbooth::ToolAnnotations;
///
/// let search = ToolAnnotations::new().with_read_only(true);
/// assert!(search.is_idempotent() && !search.is_destructive());
/// let unknown = ToolAnnotations::new();
/// assert!(!unknown.is_idempotent() && unknown.is_destructive());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_only_hint: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destructive_hint: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotent_hint: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_world_hint: Option<bool>,
}

// === impl ToolAnnotations ===

impl ToolAnnotations {
    /// Creates annotations that state nothing: the tool may change anything, anywhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the tool changes nothing. `false` by default.
    #[must_use]
    pub const fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only_hint = Some(read_only);
        self
    }

    /// Sets whether the tool may delete or overwrite something. `true` by default, unless the tool
    /// is read-only.
    #[must_use]
    pub const fn with_destructive(mut self, destructive: bool) -> Self {
        self.destructive_hint = Some(destructive);
        self
    }

    /// Sets whether calling the tool twice has the same effect as calling it once. `false` by
    /// default, unless the tool is read-only.
    #[must_use]
    pub const fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent_hint = Some(idempotent);
        self
    }

    /// Sets whether the tool reaches systems that are not known beforehand, such as the web. `true`
    /// by default.
    #[must_use]
    pub const fn with_open_world(mut self, open_world: bool) -> Self {
        self.open_world_hint = Some(open_world);
        self
    }

    /// Returns whether the tool changes nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only_hint == Some(true)
    }

    /// Returns whether the tool may delete or overwrite something. A read-only tool does not.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        !self.is_read_only() && self.destructive_hint != Some(false)
    }

    /// Returns whether calling the tool twice has the same effect as calling it once. True for a
    /// read-only tool.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.is_read_only() || self.idempotent_hint == Some(true)
    }

    /// Returns whether the tool reaches systems that are not known beforehand.
    #[must_use]
    pub fn is_open_world(&self) -> bool {
        self.open_world_hint != Some(false)
    }
}
