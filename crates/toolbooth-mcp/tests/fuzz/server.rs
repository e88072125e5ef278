//! The server that receives the messages.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use toolbooth::{BoxError, TimeoutLayer, Toolbox, tool_fn};
use toolbooth_mcp::McpServer;
use tower::ServiceBuilder;

/// The limit of a call.
const LIMIT: Duration = Duration::from_secs(30);

/// Longer than anything takes: a call, the end of a client, a keep-alive.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The names of the tools.
pub(crate) const TOOLS: [&str; 4] = ["echo", "slow", "hang", "fail"];

/// A server, and the calls of it that run.
pub(crate) struct Server {
    pub(crate) server: McpServer,
    running: Arc<()>,
}

// === impl Server ===

impl Server {
    pub(crate) fn new() -> Self {
        let running = Arc::new(());
        let guard = Arc::clone(&running);
        let echo = tool_fn("echo", async |args: Value| Ok::<_, BoxError>(args));
        let slow = tool_fn("slow", move |_: Value| {
            let guard = Arc::clone(&guard);
            async move {
                sleep(Duration::from_secs(1)).await;
                drop(guard);
                Ok::<_, BoxError>(json!({ "slow": true }))
            }
        });
        let guard = Arc::clone(&running);
        let hang = tool_fn("hang", move |_: Value| {
            let guard = Arc::clone(&guard);
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, BoxError>(())
            }
        });
        let fail = tool_fn("fail", async |_: Value| {
            Err::<(), _>(BoxError::from("failed"))
        });
        let toolbox = Toolbox::builder()
            .tool("echo", echo)
            .tool("slow", slow)
            .tool("hang", hang)
            .tool("fail", fail)
            .build()
            .expect("four tools");
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(LIMIT))
            .service(toolbox.clone());
        Self {
            server: McpServer::with_service(toolbox, service).with_page_size(2),
            running,
        }
    }

    /// Returns the number of calls that run. The two tools have a handle each.
    pub(crate) fn running(&self) -> usize {
        Arc::strong_count(&self.running) - 3
    }

    /// Checks that nothing is left after its clients and its transport are gone.
    pub(crate) async fn ended(self) -> Result<(), TestCaseError> {
        let running = Arc::downgrade(&self.running);
        drop(self);
        let metrics = Handle::current().metrics();
        let ended = timeout(LONG, async {
            while metrics.num_alive_tasks() > 0 {
                sleep(Duration::from_millis(100)).await;
            }
        });
        prop_assert!(ended.await.is_ok(), "{} tasks", metrics.num_alive_tasks());
        prop_assert_eq!(running.strong_count(), 0, "calls");
        Ok(())
    }
}
