//! Notifications of progress: what a call publishes while it runs, combined and rate-limited.
//!
//! Invariants:
//! 1. At most one notification is on its way. What is published meanwhile is combined.
//! 2. The values of a call increase strictly.
//! 3. The last notification is written before [`Reporter::finish`] returns, or its time is up. So
//!    none follows the response.

mod pending;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rmcp::model::{
    ProgressNotification, ProgressNotificationParam, ProgressToken, ServerJsonRpcMessage,
    ServerNotification,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use tokio::time::{Instant, sleep_until, timeout};
use toolbooth::{Content, ToolCall, Updates};

use self::pending::Pending;
use super::http::Link;
use super::settings::Settings;

/// The maximum time that a response waits for the last notifications.
const FLUSH: Duration = Duration::from_millis(250);

/// Reports the progress of a call, if its request asked for that.
pub(super) struct Reporter(Option<Active>);

struct Active {
    client: Client,
    token: ProgressToken,
    interval: Duration,
    updates: Updates,
    is_open: bool,
    pending: Pending,
    sending: Option<BoxFuture<'static, ()>>,
    /// When the next notification may be sent.
    next: Instant,
}

/// Where notifications are sent.
enum Client {
    Peer(Peer<RoleServer>),
    /// In a session over HTTP: in the stream of the response.
    Link(Arc<Link>),
}

// === impl Reporter ===

impl Reporter {
    pub(super) fn new(
        settings: &Settings,
        call: &ToolCall,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        Self(context.meta.get_progress_token().map(|token| Active {
            client: Client::of(context),
            token,
            interval: settings.progress_interval,
            updates: call.updates(),
            is_open: true,
            pending: Pending::default(),
            sending: None,
            next: Instant::now(),
        }))
    }

    /// Waits for a future, and reports progress meanwhile.
    pub(super) async fn during<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.0 {
            None => future.await,
            Some(active) => active.during(future).await,
        }
    }

    /// Reports an item of a streaming response.
    pub(super) fn item(&mut self, content: &Content) {
        if let Some(active) = &mut self.0 {
            active.pending.item(content);
        }
    }

    /// Sends what is left. Takes at most [`FLUSH`].
    pub(super) async fn finish(self) {
        if let Some(active) = self.0 {
            // A client that does not read misses what is left.
            let _ = timeout(FLUSH, active.finish()).await;
        }
    }
}

// === impl Active ===

impl Active {
    async fn during<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if self.next <= Instant::now() {
                self.send();
            }
            let is_sending = self.sending.is_some();
            let sending = async {
                match &mut self.sending {
                    Some(sending) => sending.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                output = &mut future => return output,
                () = sending => self.sending = None,
                update = self.updates.recv(), if self.is_open => match update {
                    Some(update) => self.pending.update(update.kind),
                    None => self.is_open = false,
                },
                () = sleep_until(self.next), if !is_sending && self.pending.is_set() => {}
            }
        }
    }

    /// Starts to send what is pending, unless a notification is on its way.
    fn send(&mut self) {
        if self.sending.is_some() {
            return;
        }
        let Some(param) = self.pending.take(&self.token) else {
            return;
        };
        self.next = Instant::now() + self.interval;
        self.sending = Some(self.client.notify(param));
    }

    async fn finish(mut self) {
        while let Some(update) = self.updates.try_recv() {
            self.pending.update(update.kind);
        }
        if let Some(sending) = self.sending.take() {
            sending.await;
        }
        self.send();
        if let Some(sending) = self.sending.take() {
            sending.await;
        }
    }
}

// === impl Client ===

impl Client {
    fn of(context: &RequestContext<RoleServer>) -> Self {
        match context.extensions.get::<Arc<Link>>() {
            Some(link) => Self::Link(Arc::clone(link)),
            None => Self::Peer(context.peer.clone()),
        }
    }

    fn notify(&self, param: ProgressNotificationParam) -> BoxFuture<'static, ()> {
        match self {
            // A client that is gone ends the call by its token.
            Self::Peer(peer) => {
                let peer = peer.clone();
                async move { drop(peer.notify_progress(param).await) }.boxed()
            }
            Self::Link(link) => {
                let link = Arc::clone(link);
                let notification = ProgressNotification::new(param);
                let notification = ServerNotification::ProgressNotification(notification);
                let message = ServerJsonRpcMessage::notification(notification);
                async move { link.send(message).await }.boxed()
            }
        }
    }
}
