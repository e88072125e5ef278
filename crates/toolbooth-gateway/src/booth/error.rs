use toolbooth::BoxError;
use toolbooth::policy::PolicyError;
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
    /// A command has the name of a tool of a server.
    #[error("the command `{tool}` has the name of a tool of a server")]
    #[non_exhaustive]
    NameTaken {
        /// The name.
        tool: String,
    },
    /// The toolbox cannot have these tools or policies.
    #[error("the tools or their policies are invalid")]
    #[non_exhaustive]
    Toolbox {
        /// What is wrong.
        source: ToolboxError,
    },
    /// The policies cannot be used.
    #[error("the policies are invalid")]
    #[non_exhaustive]
    Policies {
        /// What is wrong, and where.
        source: PolicyError,
    },
}
