//! Notifies clients that the list of tools has changed.
//!
//! Clients of 2026-07-28 subscribe: their request runs until they are gone. The others are notified
//! by one task for all of them, which runs while the server has a handle. It notifies them side by
//! side, so that a client that does not read delays no other.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rmcp::service::{Peer, RoleServer, SubscriptionContext};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbooth::Toolbox;
use toolbooth::toolbox::ToolboxChanges;

use super::requests::cancelled;

/// The maximum time for the notification of one client.
const NOTIFY: Duration = Duration::from_secs(5);

/// The clients that are notified, as long as a handle to this is left.
#[derive(Debug)]
pub(super) struct Clients {
    list: Arc<Mutex<List>>,
    /// Ends the task.
    dropped: DropGuard,
}

#[derive(Debug, Default)]
struct List {
    /// By the address of the information that the peer has of its client: a client is added
    /// once, however often it notifies that it is initialized.
    peers: HashMap<usize, Peer<RoleServer>>,
    /// The length at which the peers that are gone are removed.
    prune_at: usize,
    is_watched: bool,
}

// === impl Clients ===

impl Clients {
    pub(super) fn new() -> Self {
        Self {
            list: Arc::default(),
            dropped: CancellationToken::new().drop_guard(),
        }
    }

    /// Adds a client, and starts the task if it is the first one.
    pub(super) fn add(&self, toolbox: &Toolbox, peer: Peer<RoleServer>) {
        let is_first = self
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(peer);
        if is_first {
            let list = Arc::clone(&self.list);
            let changes = toolbox.changes();
            let dropped = self.dropped.token().clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = dropped.cancelled() => {}
                    () = watch(list, changes) => {}
                }
            });
        }
    }
}

/// Notifies the clients of each change.
async fn watch(list: Arc<Mutex<List>>, mut changes: ToolboxChanges) {
    while changes.changed().await {
        let peers = list.lock().unwrap_or_else(PoisonError::into_inner).alive();
        let notified = peers
            .iter()
            .map(|peer| timeout(NOTIFY, peer.notify_tool_list_changed()));
        // A client that is gone is removed later. Another change may come meanwhile.
        drop(join_all(notified).await);
    }
}

/// Notifies the client of a subscription, until it is gone.
pub(super) async fn notify(mut changes: ToolboxChanges, subscription: &SubscriptionContext) {
    let cancelled = cancelled(subscription.request_context());
    if subscription.accepted().tools_list_changed != Some(true) {
        return cancelled.await;
    }
    let notify = async {
        while changes.changed().await {
            let notified = subscription.sink().notify_tool_list_changed().await;
            if notified.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = cancelled => {}
        () = notify => {}
    }
}

// === impl List ===

impl List {
    /// Returns whether it is the first one.
    fn add(&mut self, peer: Peer<RoleServer>) -> bool {
        // A client that has not begun by `initialize` subscribes.
        let Some(info) = peer.peer_info() else {
            return false;
        };
        if self.peers.len() >= self.prune_at {
            self.prune();
        }
        self.peers.insert(Arc::as_ptr(&info).addr(), peer);
        !mem::replace(&mut self.is_watched, true)
    }

    fn alive(&mut self) -> Vec<Peer<RoleServer>> {
        self.prune();
        self.peers.values().cloned().collect()
    }

    fn prune(&mut self) {
        self.peers.retain(|_, peer| !peer.is_transport_closed());
        self.prune_at = self.peers.len() * 2 + 16;
    }
}
