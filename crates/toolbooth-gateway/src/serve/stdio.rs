//! MCP over standard input and output.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use toolbooth_mcp::McpServer;

use super::calls::{Calls, Identity, Limits};

/// The client that started this process, if it is served.
#[derive(Debug)]
pub(crate) struct Client {
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

/// The time within which a result is sent after its call has ended: the server waits up to 250 ms
/// for a client that reads its progress slowly.
const RESULT_LIMIT: Duration = Duration::from_millis(500);

/// What a person sees who starts what a client is to start.
const TERMINAL: &str = "standard input is a terminal, where a client of MCP is expected: \
    let the client start this command; Ctrl-C ends it";

/// Serves the client on the standard streams, as no tenant.
pub(crate) fn serve(enabled: bool, calls: &Calls) -> Client {
    let stop = CancellationToken::new();
    let service = calls.service(&calls.toolbox, &Limits::none(), Identity::default());
    let server = McpServer::with_service(calls.toolbox.clone(), service);
    let task = enabled.then(|| tokio::spawn(client(server, stop.clone())));
    Client { task, stop }
}

async fn client(server: McpServer, stop: CancellationToken) {
    match std::io::stdin().is_terminal() {
        true => tracing::info!("{TERMINAL}"),
        false => tracing::info!("the client is served over standard input and output"),
    }
    let running = tokio::select! {
        running = server.serve_stdio() => running,
        () = stop.cancelled() => return,
    };
    let running = match running {
        Ok(running) => running,
        Err(error) => {
            tracing::info!(%error, "the client did not initialize");
            return;
        }
    };
    let token = running.cancellation_token();
    let ended = running.waiting();
    tokio::pin!(ended);
    let ended = tokio::select! {
        ended = &mut ended => ended,
        () = stop.cancelled() => {
            token.cancel();
            ended.await
        }
    };
    match ended {
        Ok(reason) => tracing::debug!(?reason, "the client is gone"),
        Err(error) => tracing::error!(%error, "the client's session failed"),
    }
}

// === impl Client ===

impl Client {
    /// Waits until the client is gone. Never, if none is served.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn ended(&mut self) {
        match &mut self.task {
            // A task that panicked has ended, too.
            Some(task) => drop(task.await),
            None => std::future::pending().await,
        }
    }

    /// Ends the session, after at most `limit` for the responses that are being written. If calls
    /// have ended just now, their results are sent first.
    pub(crate) async fn close(self, limit: Duration, has_results: bool) {
        if has_results && self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            tokio::time::sleep(RESULT_LIMIT).await;
        }
        self.stop.cancel();
        let Some(mut task) = self.task.filter(|task| !task.is_finished()) else {
            return;
        };
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
        }
    }
}
