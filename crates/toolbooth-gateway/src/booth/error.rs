use toolbooth::BoxError;
use toolbooth::toolbox::ToolboxError;

/// Why a booth cannot be opened or changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoothError {
    /// A command cannot be a tool.
    #[error("the command `{tool}` cannot be a tool")]
    #[non_exhaustive]
    Command {
        /// The name of the tool.
        tool: String,
        /// What is wrong.
        source: BoxError,
    },
    /// The toolbox cannot have these tools or policies.
    #[error("the tools or their policies are invalid")]
    #[non_exhaustive]
    Toolbox {
        /// What is wrong.
        source: ToolboxError,
    },
}
