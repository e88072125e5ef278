//! What the handles of a booth share.
//!
//! Invariants:
//! 1. `current` is locked for a whole change, so that changes are applied one after the other. No
//!    wait is inside.
//! 2. Everything that can fail comes before the first change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use toolbooth::{ToolError, Toolbox};

use super::change::{BoothChange, between};
use super::commands::Commands;
use super::server::Server;
use super::{BoothError, BoothStatus};
use crate::config::Config;
use crate::guard::Guard;

pub(super) struct Shared {
    toolbox: Toolbox,
    guard: Guard,
    current: Mutex<Current>,
}

/// The settings, and the servers that were started of them.
struct Current {
    config: Arc<Config>,
    servers: BTreeMap<String, Server>,
    is_closed: bool,
}

// === impl Shared ===

impl Shared {
    /// Starts to connect to all servers.
    pub(super) fn new(toolbox: Toolbox, config: Config, guard: Guard) -> Self {
        let servers = config.upstreams.iter().map(|(name, upstream)| {
            let server = Server::start(name, upstream.clone(), &toolbox, &guard, None);
            (name.clone(), server)
        });
        let servers = servers.collect();
        let current = Mutex::new(Current {
            config: Arc::new(config),
            servers,
            is_closed: false,
        });
        Self {
            toolbox,
            guard,
            current,
        }
    }

    pub(super) const fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    /// Returns the error of a call of an unknown tool, if a server that is away may have it.
    pub(super) fn unknown(&self, tool: &str) -> Option<ToolError> {
        let current = self.lock();
        let mut servers = current.servers.iter();
        servers.find_map(|(name, server)| server.unknown(name, tool))
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.lock().config)
    }

    pub(super) fn status(&self) -> BoothStatus {
        let current = self.lock();
        let servers = current.servers.iter();
        BoothStatus {
            tools: self.toolbox.len(),
            upstreams: servers.map(|(name, server)| server.status(name)).collect(),
        }
    }

    pub(super) async fn first_attempts(&self) {
        let waits: Vec<_> = self
            .lock()
            .servers
            .values()
            .map(Server::first_attempt)
            .collect();
        join_all(waits).await;
    }

    pub(super) fn apply(&self, config: Config) -> Result<BoothChange, BoothError> {
        let mut current = self.lock();
        let upstreams = between(&current.config.upstreams, &config.upstreams);
        let tools = between(&current.config.tools, &config.tools);
        let commands = Commands::new(&config, &tools)?;
        commands.check(&self.toolbox)?;
        let policies = self
            .toolbox
            .apply(config.policies.clone())
            .map_err(|source| BoothError::Policies { source })?;

        commands.apply(&self.toolbox, &tools);
        for (name, change) in &upstreams {
            let former = current.servers.remove(name);
            match config.upstreams.get(name) {
                Some(upstream) if !current.is_closed => {
                    let (toolbox, guard) = (&self.toolbox, &self.guard);
                    let server = Server::start(name, upstream.clone(), toolbox, guard, former);
                    current.servers.insert(name.clone(), server);
                }
                _ => drop(former),
            }
            tracing::debug!(server = name, %change, "a server was changed");
        }
        current.config = Arc::new(config);
        Ok(BoothChange {
            upstreams,
            tools,
            policies,
        })
    }

    pub(super) async fn close(&self, limit: Duration) -> bool {
        let servers = {
            let mut current = self.lock();
            current.is_closed = true;
            std::mem::take(&mut current.servers)
        };
        let closed = join_all(servers.into_values().map(Server::close));
        tokio::time::timeout(limit, closed).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // A panic while it is locked leaves it as it was before an entry or after.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("toolbox", &self.toolbox)
            .finish_non_exhaustive()
    }
}
