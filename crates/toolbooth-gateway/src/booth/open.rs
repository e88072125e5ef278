use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use toolbooth::toolbox::ToolboxBuilder;
use toolbooth::{EventSink, Toolbox};

use super::{Booth, BoothError, BoothStatus, UpstreamState, UpstreamStatus};
use crate::config::Config;

/// Opens a [`Booth`]. Made by [`Booth::builder`].
#[must_use = "a builder does nothing until `open`"]
pub struct BoothBuilder {
    config: Config,
    toolbox: ToolboxBuilder,
}

/// What all handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) toolbox: Toolbox,
    config: Mutex<Arc<Config>>,
}

// === impl BoothBuilder ===

impl BoothBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            toolbox: Toolbox::builder(),
        }
    }

    /// Delivers changes of breakers and limits to `sink`, as
    /// [`ToolboxBuilder::with_events`](toolbooth::toolbox::ToolboxBuilder::with_events) does.
    pub fn with_events(mut self, sink: impl EventSink) -> Self {
        self.toolbox = self.toolbox.with_events(sink);
        self
    }

    /// Opens the booth, and waits until each server is connected or its first attempt has failed.
    ///
    /// A server that is down stops no other. It is tried again, and its tools appear with it.
    ///
    /// # Errors
    /// If a command or a policy cannot be used.
    #[expect(clippy::unused_async, reason = "servers are connected here")]
    pub async fn open(self) -> Result<Booth, BoothError> {
        let mut builder = self.toolbox.policies(self.config.policies.clone());
        for (name, command) in &self.config.tools {
            let tool = command.tool(name).map_err(|source| BoothError::Command {
                tool: name.clone(),
                source,
            })?;
            builder = builder.tool(command.spec(name), tool);
        }
        let toolbox = builder
            .build()
            .map_err(|source| BoothError::Toolbox { source })?;
        let shared = Arc::new(Shared {
            toolbox,
            config: Mutex::new(Arc::new(self.config)),
        });
        Ok(Booth { shared })
    }
}

impl fmt::Debug for BoothBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoothBuilder").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn config(&self) -> Arc<Config> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&config)
    }

    pub(super) fn status(&self) -> BoothStatus {
        let config = self.config();
        let upstreams = config
            .upstreams
            .iter()
            .map(|(name, upstream)| UpstreamStatus {
                name: name.clone(),
                server: upstream.transport.summary(),
                state: UpstreamState::Connecting,
                tools: 0,
                restarts: 0,
                last_error: None,
            });
        BoothStatus {
            tools: self.toolbox.len(),
            upstreams: upstreams.collect(),
        }
    }
}
