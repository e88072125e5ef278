//! Layers around each tool that can change, as policies describe them.

use super::tool::ToolService;

/// Makes the stacks of tools.
pub(crate) trait Stacks: Send + Sync {
    /// Wraps a tool that is inserted later.
    fn stack(&self, name: &str, tool: ToolService) -> Stacked;

    /// Forgets what tools that are gone have left behind, unless a call still uses it.
    fn forget(&self, is_there: &dyn Fn(&str) -> bool);

    #[cfg(feature = "policy")]
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A tool with its stack.
pub(crate) struct Stacked {
    pub(crate) service: ToolService,
    /// Whether the tool is idempotent, in place of what the toolbox knows of it.
    pub(crate) is_idempotent: Option<bool>,
}

/// Adds stacks when a toolbox is built. Returns what is wrong with them.
pub(super) type AddStacks =
    Box<dyn FnOnce(&mut super::shared::Version) -> Result<(), String> + Send>;
