//! A booth: the tools of a [`Config`] behind one toolbox, with their limits.
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{BoxError, ToolCall};
//! use toolbooth_gateway::booth::Booth;
//! use toolbooth_gateway::config::Config;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let config = Config::from_toml(
//!     r#"
//!     [tools.greet]
//!     command = ["echo", "hello", "{name}"]
//!     "#,
//! )?;
//! let booth = Booth::open(config).await?;
//! let call = ToolCall::new("greet", json!({ "name": "Ada" }));
//! let output = booth.toolbox().oneshot(call).await?.collect().await?;
//! assert_eq!(output.text(), "hello Ada\n");
//! # Ok(()) }
//! ```

mod error;
mod open;
mod status;

use std::sync::Arc;

use toolbooth::Toolbox;

pub use error::BoothError;
pub use open::BoothBuilder;
pub use status::{BoothStatus, UpstreamState, UpstreamStatus};

use crate::config::Config;

/// The tools of a [`Config`], their limits, and the connections to servers.
///
/// Clones are handles to the same booth. The connections end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Booth {
    shared: Arc<open::Shared>,
}

// === impl Booth ===

impl Booth {
    /// Creates a builder.
    pub fn builder(config: Config) -> BoothBuilder {
        BoothBuilder::new(config)
    }

    /// Opens a booth: as `Booth::builder(config).open()`.
    ///
    /// # Errors
    /// As [`BoothBuilder::open`].
    pub async fn open(config: Config) -> Result<Self, BoothError> {
        Self::builder(config).open().await
    }

    /// Returns the toolbox, whose tools change with the servers.
    #[must_use]
    pub fn toolbox(&self) -> Toolbox {
        self.shared.toolbox.clone()
    }

    /// Returns the settings that apply now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// Returns the state of each server.
    #[must_use]
    pub fn status(&self) -> BoothStatus {
        self.shared.status()
    }
}
