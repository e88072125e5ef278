//! A booth: the tools of a [`Config`] behind one toolbox, with their limits.
//!
//! [`Booth::open`] connects to all servers at once, and starts no command before it is called. A
//! server that is down stops no other: it is tried again, and its tools appear with it.
//! [`Booth::apply`] replaces the settings while calls run.
//!
//! The tools of a server that is away later stay in the toolbox as long as the settings have the
//! server. Their calls are rejected until it is back, and so are calls of unknown tools with its
//! prefix: [`CircuitOpen`](toolbooth::ToolError::CircuitOpen) with the name of the server, for how
//! long and why it has been away, and the time until the next attempt to connect.
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
//! let config = |text| {
//!     Config::from_toml(&format!("[tools.greet]\ncommand = [\"echo\", \"{text}\", \"{{name}}\"]"))
//! };
//! let booth = Booth::open(config("hello")?).await?;
//! let call = || ToolCall::new("greet", json!({ "name": "Ada" }));
//! let output = booth.toolbox().oneshot(call()).await?.collect().await?;
//! assert_eq!(output.text(), "hello Ada\n");
//!
//! let change = booth.apply(config("goodbye")?)?;
//! assert_eq!(change.to_string(), "command greet: changed");
//! let output = booth.toolbox().oneshot(call()).await?.collect().await?;
//! assert_eq!(output.text(), "goodbye Ada\n");
//! # Ok(()) }
//! ```

mod change;
mod commands;
mod error;
mod open;
mod server;
mod shared;
mod status;

use std::sync::Arc;
use std::time::Duration;

use toolbooth::Toolbox;

pub use change::{BoothChange, EntryChange};
pub use error::BoothError;
pub use open::BoothBuilder;
pub use status::{BoothStatus, UpstreamState, UpstreamStatus};

use crate::config::Config;

/// The tools of a [`Config`], their limits, and the connections to servers.
///
/// Clones are handles to the same booth. The connections end when the last handle is dropped;
/// [`close`](Self::close) also waits for their end.
#[derive(Debug, Clone)]
pub struct Booth {
    shared: Arc<shared::Shared>,
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
        self.shared.toolbox().clone()
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

    /// Waits until each server is connected, or its first attempt has failed.
    ///
    /// # Cancel safety
    /// Safe: the servers are connected by tasks of their own.
    pub async fn first_attempts(&self) {
        self.shared.first_attempts().await;
    }

    /// Waits as [`first_attempts`](Self::first_attempts), but for longer than `limit` only while
    /// there is no tool at all. The tools of a server that is connected later are added then.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn first_tools(&self, limit: Duration) {
        let toolbox = self.toolbox();
        let mut changes = toolbox.changes();
        let enough = async {
            tokio::time::sleep(limit).await;
            while toolbox.is_empty() && changes.changed().await {}
        };
        tokio::select! {
            () = self.first_attempts() => {}
            () = enough => {}
        }
    }

    /// Replaces the settings of tools, limits and servers. Calls in flight end with those that they
    /// have begun with.
    ///
    /// What has not changed continues: a server stays connected, and a limit keeps its state, as
    /// [`Toolbox::apply`] describes. A server with other settings is connected first, and then its
    /// tools take the place of those of the former connection, at once. Until then, and if it
    /// cannot be connected, the former one stays. Calls in flight stay on it.
    ///
    /// It returns before new servers are connected: wait for
    /// [`first_attempts`](Self::first_attempts). Listeners, tenants and logs are not part of a
    /// booth.
    ///
    /// # Errors
    /// If a command or a limit cannot be used. Then nothing changes.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn apply(&self, config: Config) -> Result<BoothChange, BoothError> {
        self.shared.apply(config)
    }

    /// Closes the connections to servers, and waits up to `limit` until they have ended, with the
    /// programs of those that are programs. Returns whether all have.
    ///
    /// Calls of these servers fail. Commands that run are not part of this: they end with their
    /// calls.
    pub async fn close(&self, limit: Duration) -> bool {
        self.shared.close(limit).await
    }
}
