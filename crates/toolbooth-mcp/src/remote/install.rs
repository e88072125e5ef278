//! The tools of a server in a toolbox.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbooth::Toolbox;
use toolbooth::toolbox::ToolboxError;
use toolbooth_core::Name;

use super::RemoteServer;
use super::list::{Listed, Tools};
use super::server::Shared;

/// The tools of a server in a toolbox, which are kept up to date. Made by
/// [`RemoteServer::install`](super::RemoteServer::install).
///
/// Dropping it ends the updates, and leaves the tools in the toolbox.
#[must_use = "dropping it ends the updates of the toolbox"]
pub struct Installed {
    inner: Arc<Inner>,
    _updates: DropGuard,
}

struct Inner {
    toolbox: Toolbox,
    /// The tools that are in the toolbox. `None` once others decide that.
    tools: Mutex<Option<Tools>>,
}

// === impl Installed ===

impl Installed {
    pub(super) fn new(shared: &Arc<Shared>, toolbox: &Toolbox) -> Result<Self, ToolboxError> {
        Self::in_place_of(&Tools::new(), shared, toolbox)
    }

    /// Adds the tools of another server, and removes these, at once: a tool that both have is there
    /// all the time. Calls in flight stay on these.
    ///
    /// # Errors
    /// A tool cannot be inserted, such as because its name is in use. Then these are removed, and
    /// none is added.
    ///
    /// # Panics
    /// Without a tokio runtime.
    pub fn replace_by(self, server: &RemoteServer) -> Result<Self, ToolboxError> {
        let mut tools = self.inner.lock();
        let former = tools.take().unwrap_or_default();
        let replaced = Self::in_place_of(&former, server.shared(), &self.inner.toolbox);
        if replaced.is_err() {
            self.inner.remove(&former);
        }
        replaced
    }

    /// Adds the tools of a server, and removes those of `former`.
    fn in_place_of(
        former: &Tools,
        shared: &Arc<Shared>,
        toolbox: &Toolbox,
    ) -> Result<Self, ToolboxError> {
        let mut changes = shared.subscribe();
        let tools = Tools::clone(&changes.borrow_and_update());
        let mut batch = toolbox.batch();
        for name in former.keys() {
            batch = batch.remove(name.as_str());
        }
        for listed in tools.values() {
            batch = batch.insert(listed.spec.clone(), listed.tool(shared));
        }
        batch.apply()?;
        let inner = Arc::new(Inner {
            toolbox: toolbox.clone(),
            tools: Mutex::new(Some(tools)),
        });
        let updates = CancellationToken::new();
        let update = update(Arc::clone(&inner), Arc::downgrade(shared), changes);
        let ended = updates.clone();
        shared.runtime().spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = update => {}
            }
        });
        Ok(Self {
            inner,
            _updates: updates.drop_guard(),
        })
    }

    /// Returns the names of the tools that are in the toolbox, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let tools = self.inner.lock();
        let names = tools.iter().flat_map(Tools::keys);
        names.map(|name| Name::from(name.as_str())).collect()
    }

    /// Removes the tools from the toolbox, and ends the updates. Calls in flight stay on them.
    pub fn uninstall(self) {
        let tools = self.inner.lock().take().unwrap_or_default();
        self.inner.remove(&tools);
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed")
            .field("tools", &self.names().len())
            .finish_non_exhaustive()
    }
}

/// Applies each change of the list, until the server has no handle left.
async fn update(inner: Arc<Inner>, shared: Weak<Shared>, mut changes: watch::Receiver<Arc<Tools>>) {
    while changes.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let tools = Arc::clone(&changes.borrow_and_update());
        inner.change(&tools, &shared);
    }
}

// === impl Inner ===

impl Inner {
    /// Changes the tools of the server in the toolbox to these. A tool whose name is in use is left
    /// out.
    fn change(&self, tools: &Tools, shared: &Arc<Shared>) {
        let mut current = self.lock();
        let Some(installed) = current.as_mut() else {
            return;
        };
        let mut batch = self.toolbox.batch();
        let mut next = BTreeMap::new();
        for name in installed.keys().filter(|name| !tools.contains_key(*name)) {
            batch = batch.remove(name.as_str());
        }
        for (name, listed) in tools {
            match installed.get(name) {
                Some(same) if same == listed => {}
                // A tool of this name may have been removed by others.
                Some(_) if self.toolbox.contains(name) => {
                    batch = batch.replace(listed.spec.clone(), listed.tool(shared));
                }
                _ if self.toolbox.contains(name) => {
                    tracing::warn!(tool = %name, "the name of a remote tool is in use already");
                    continue;
                }
                _ => batch = batch.insert(listed.spec.clone(), listed.tool(shared)),
            }
            next.insert(name.clone(), Listed::clone(listed));
        }
        match batch.apply() {
            Ok(()) => *installed = next,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the tools of a remote server stay as they were"
            ),
        }
    }

    /// Removes tools from the toolbox.
    fn remove(&self, tools: &Tools) {
        let names = tools.keys();
        let batch = names.fold(self.toolbox.batch(), |batch, name| {
            batch.remove(name.as_str())
        });
        if let Err(error) = batch.apply() {
            // A removal has no faults.
            tracing::error!(error = &error as &dyn std::error::Error, "tools stay");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tools>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
