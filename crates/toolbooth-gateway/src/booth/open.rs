use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use toolbooth::shared::SharedStore;
use toolbooth::toolbox::ToolboxBuilder;
use toolbooth::{EventSink, Name, Toolbox};

use super::change::between;
use super::commands::Commands;
use super::shared::Shared;
use super::{Booth, BoothError};
use crate::config::Config;
use crate::guard::Guard;

/// Opens a [`Booth`]. Made by [`Booth::builder`].
#[must_use = "a builder does nothing until `open`"]
pub struct BoothBuilder {
    config: Config,
    toolbox: ToolboxBuilder,
    guard: Guard,
}

// === impl BoothBuilder ===

impl BoothBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            toolbox: Toolbox::builder(),
            guard: Guard::none(),
        }
    }

    /// Delivers changes of breakers and limits to `sink`, as
    /// [`ToolboxBuilder::with_events`](toolbooth::toolbox::ToolboxBuilder::with_events) does.
    pub fn with_events(mut self, sink: impl EventSink) -> Self {
        self.toolbox = self.toolbox.with_events(sink);
        self
    }

    /// Keeps the limits of tools in a store that several gateways share, as
    /// [`ToolboxBuilder::with_store`](toolbooth::toolbox::ToolboxBuilder::with_store) does.
    pub fn with_store(mut self, store: &SharedStore, name: impl Into<Name>) -> Self {
        self.toolbox = self.toolbox.with_store(store, name);
        self
    }

    /// Sets how the programs of servers are started: by default directly.
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Opens the booth, and waits until each server is connected or its first attempt has failed.
    ///
    /// # Errors
    /// If a command or a policy cannot be used.
    pub async fn open(self) -> Result<Booth, BoothError> {
        let booth = self.start()?;
        booth.first_attempts().await;
        Ok(booth)
    }

    /// Opens the booth, and does not wait for servers.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<Booth, BoothError> {
        let changes = between(&Default::default(), &self.config.tools);
        let mut builder = self.toolbox.policies(self.config.policies.clone());
        for (spec, tool) in Commands::new(&self.config, &changes)?.into_tools() {
            builder = builder.tool(spec, tool);
        }
        // The toolbox does not hold the booth, which holds it.
        let booth = Arc::new(OnceLock::<Weak<Shared>>::new());
        let known = Arc::clone(&booth);
        let toolbox = builder
            .with_unknown_tool(move |tool| known.get()?.upgrade()?.unknown(tool))
            .build()
            .map_err(|source| BoothError::Toolbox { source })?;
        let shared = Arc::new(Shared::new(toolbox, self.config, self.guard));
        let _is_first = booth.set(Arc::downgrade(&shared));
        Ok(Booth { shared })
    }
}

impl fmt::Debug for BoothBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoothBuilder").finish_non_exhaustive()
    }
}
