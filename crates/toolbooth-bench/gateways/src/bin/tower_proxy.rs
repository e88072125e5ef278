//! The proxy of the crate tower-mcp: `tower_proxy stdio|PORT LIMIT COMMAND...`, with a limit in
//! milliseconds on each request to its backend.

use std::time::Duration;

use tower::timeout::TimeoutLayer;
use tower_mcp::GenericStdioTransport;
use tower_mcp::client::StdioClientTransport;
use tower_mcp::proxy::McpProxy;
use tower_mcp::transport::http::HttpTransport;

#[tokio::main]
async fn main() -> Result<(), tower_mcp::BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [front, limit, program, rest @ ..] = &*arguments else {
        return Err("usage: tower_proxy stdio|PORT LIMIT COMMAND...".into());
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let proxy = McpProxy::builder("tower-proxy", "1.0.0")
        .backend(
            "upstream",
            StdioClientTransport::spawn(program, &rest).await?,
        )
        .await
        .backend_layer(TimeoutLayer::new(Duration::from_millis(limit.parse()?)))
        .build_strict()
        .await?;
    if front == "stdio" {
        GenericStdioTransport::new(proxy).run().await?;
    } else {
        HttpTransport::from_service(proxy)
            .serve(&format!("127.0.0.1:{front}"))
            .await?;
    }
    Ok(())
}
