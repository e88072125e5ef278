//! Calls end with their request, their client and their server.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};
use toolbooth::{BoxError, ShutdownLayer, Toolbox};
use toolbooth_mcp::{ERROR_META_KEY, McpServer};
use tower::ServiceBuilder;

use crate::raw::Raw;
use crate::support::{GENERATIONS, Noted, hanging};

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_drops_its_call_and_nothing_is_sent() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let (hang, mut notes) = hanging();
        let server = McpServer::new(Toolbox::builder().tool("hang", hang).build()?);
        let mut client = Raw::connect(server, generation).await;
        client.call(1, "hang", json!({ "progressToken": 1 })).await;
        assert_eq!(notes.recv().await, Some(Noted::Started));
        client
            .notify("notifications/cancelled", json!({ "requestId": 1 }))
            .await;
        assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
        assert!(
            timeout(Duration::from_secs(60), client.receive())
                .await
                .is_err()
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_pipe_ends_its_calls() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let (hang, mut notes) = hanging();
        let server = McpServer::new(Toolbox::builder().tool("hang", hang).build()?);
        let mut client = Raw::connect(server, generation).await;
        client.call(1, "hang", json!({})).await;
        assert_eq!(notes.recv().await, Some(Noted::Started));
        let closed = Instant::now();
        drop(client);
        // For 5 s, results may still be written.
        let after = closed + Duration::from_secs(5);
        assert_eq!(notes.recv().await, Some(Noted::Dropped(after)));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_calls_with_an_error_result() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let (hang, mut notes) = hanging();
        let toolbox = Toolbox::builder().tool("hang", hang).build()?;
        let shutdown = ShutdownLayer::new();
        let service = ServiceBuilder::new()
            .layer(shutdown.clone())
            .service(toolbox.clone());
        let server = McpServer::with_service(toolbox, service);
        let mut client = Raw::connect(server, generation).await;
        client.call(1, "hang", json!({})).await;
        assert_eq!(notes.recv().await, Some(Noted::Started));
        let begun = Instant::now();
        let grace = Duration::from_secs(2);
        let report = shutdown.shutdown(grace, Duration::from_secs(5)).await;
        assert_eq!(report.cancelled, 1);
        let ended = client.receive().await;
        assert_eq!(begun.elapsed(), grace);
        assert_eq!(ended["result"]["isError"], true);
        assert_eq!(
            ended["result"]["_meta"][ERROR_META_KEY]["kind"],
            "cancelled"
        );
        client.call(2, "hang", json!({})).await;
        let late = client.receive().await;
        let report = &late["result"]["_meta"][ERROR_META_KEY];
        assert_eq!(
            (&report["kind"], &report["started"]),
            (&json!("overloaded"), &json!(false))
        );
        assert_eq!(report["retry_after_ms"], 5_000);
    }
    Ok(())
}
