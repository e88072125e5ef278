//! The task beside a connection: it refreshes the list of tools when that has changed.
//!
//! It holds neither the connection nor the server, and ends with the connection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rmcp::model::SubscriptionFilter;
use rmcp::service::{Peer, RoleClient};
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::remote::RemoteError;
use crate::remote::connection::{Connection, Lost, Tap};
use crate::remote::list;

/// The pause after a refresh. A server that changes its list all the time costs no more.
const PAUSE: Duration = Duration::from_millis(200);

/// The waits before a subscription that ended is made again.
const MIN_RESUBSCRIBE: Duration = Duration::from_secs(1);
const MAX_RESUBSCRIBE: Duration = Duration::from_secs(60);

pub(super) struct Refresh {
    connection: Weak<Connection>,
    shared: Weak<Shared>,
    tap: Tap,
    lost: Lost,
    /// For a version of the protocol in which a client subscribes to changes.
    subscribes: Option<Peer<RoleClient>>,
}

// === impl Refresh ===

impl Refresh {
    pub(super) fn new(connection: &Arc<Connection>, shared: Weak<Shared>) -> Self {
        Self {
            connection: Arc::downgrade(connection),
            shared,
            tap: connection.tap().clone(),
            lost: connection.lost().clone(),
            subscribes: connection.subscribes().then(|| connection.peer().clone()),
        }
    }

    /// Reads the list again. False once the server has no handle left.
    async fn read(&self) -> bool {
        let Some(connection) = self.connection.upgrade() else {
            return false;
        };
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        let settings = shared.settings();
        let limit = settings.connect_timeout;
        let tools = timeout(limit, list::fetch(&connection, settings)).await;
        let tools = tools.unwrap_or_else(|_| {
            Err(RemoteError::Tools {
                server: settings.name.clone(),
                message: format!("they were not listed within {limit:?}").into(),
            })
        });
        match tools {
            Ok(tools) => shared.set_tools(tools),
            Err(error) => {
                tracing::warn!(
                    server = %settings.name,
                    error = &error as &dyn std::error::Error,
                    "the list of tools stays as it was"
                );
                shared.set_error(error);
            }
        }
        true
    }
}

/// Refreshes the list until the connection is lost.
pub(super) async fn refresh(refresh: Refresh) {
    let lost = refresh.lost.clone();
    let refreshed = async {
        loop {
            refresh.tap.tools_changed.notified().await;
            if !refresh.read().await {
                return;
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        error = lost.wait() => {
            // The loss is noticed now, also without a call.
            if let Some(shared) = refresh.shared.upgrade() {
                drop(shared.status());
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
        }
        () = refreshed => {}
        () = subscribe(&refresh) => {}
    }
}

/// Keeps a subscription to changes of the list. The tap receives its notifications.
async fn subscribe(refresh: &Refresh) {
    let Some(peer) = &refresh.subscribes else {
        return std::future::pending().await;
    };
    let mut wait = MIN_RESUBSCRIBE;
    loop {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        if let Ok(mut subscription) = peer.listen(filter).await {
            while let Ok(Some(_)) = subscription.next().await {
                wait = MIN_RESUBSCRIBE;
            }
        }
        sleep(wait).await;
        wait = MAX_RESUBSCRIBE.min(2 * wait);
        // Changes between the subscriptions were not notified.
        refresh.tap.tools_changed.notify_one();
    }
}
