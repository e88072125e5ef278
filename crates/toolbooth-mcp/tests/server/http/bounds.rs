//! What requests are rejected.

use bytes::Bytes;
use toolbooth::{BoxError, Toolbox};
use toolbooth_mcp::{HttpOptions, McpServer};

use super::client::{Client, initialize, text};

#[tokio::test(start_paused = true)]
async fn only_the_allowed_hosts_and_origins_are_served() -> Result<(), BoxError> {
    let server = McpServer::new(Toolbox::builder().build()?);
    let local = server.clone().into_http(HttpOptions::new());
    let options = HttpOptions::new()
        .with_allowed_hosts(["mcp.example.com"])
        .with_allowed_origins(["https://app.example.com:443"]);
    let public = server.clone().into_http(options);
    let any = server.into_http(HttpOptions::new().with_any_host());
    for (service, host, origin, status) in [
        (&local, "localhost", "", 200),
        (&local, "127.0.0.1:8000", "http://localhost:5173", 200),
        (&local, "[::1]:8000", "", 200),
        (&local, "evil.example", "", 403),
        (&local, "localhost.evil.example", "", 403),
        (&local, "localhost", "https://evil.example", 403),
        (&local, "localhost", "null", 403),
        (&public, "mcp.example.com", "https://app.example.com", 200),
        (&public, "mcp.example.com", "http://localhost", 403),
        (&public, "localhost", "", 403),
        (&any, "evil.example", "", 200),
        (&any, "evil.example", "https://evil.example", 403),
    ] {
        let mut headers = vec![("host", host)];
        if !origin.is_empty() {
            headers.push(("origin", origin));
        }
        let client = Client::new(service);
        let sent = client
            .send("POST", initialize().to_string().into(), &headers)
            .await;
        assert_eq!(sent.status(), status, "{host} {origin}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_body_is_bounded() -> Result<(), BoxError> {
    let server = McpServer::new(Toolbox::builder().build()?);
    let service = server.into_http(HttpOptions::new().with_body_limit(1_000));
    let client = Client::new(&service);
    for (size, status) in [(1_000, 415), (1_001, 413)] {
        let body = Bytes::from(vec![b' '; size]);
        let response = client.send("POST", body, &[]).await;
        assert_eq!(response.status(), status, "{}", text(response).await);
    }
    Ok(())
}
