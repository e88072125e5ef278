//! Metrics of calls for Prometheus: a server with the route `/metrics`, which the example scrapes
//! after a few calls.
//!
//! ```text
//! cargo run -p toolbooth-examples --features servers --example metrics_app
//! ```
//!
//! The exporter, its buckets and the route are in `servers/metrics.rs`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;
use toolbooth::{BoxError, ToolCall};
use toolbooth_examples::servers::metered;
use tower::ServiceExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (toolbox, route) = metered()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, route).into_future());

    // Two calls at once: the second one waits for the permit. The third one is too slow, the
    // fourth one fails, and there is no tool of the fifth one's name.
    let crawl = |millis: u64| ToolCall::new("crawl", json!({ "millis": millis }));
    let two = [crawl(100), crawl(20)].map(|call| toolbox.clone().oneshot(call));
    let completed = join_all(two).await.into_iter().filter(Result::is_ok);
    assert_eq!(completed.count(), 2);
    for call in [
        crawl(60_000),
        ToolCall::new("fail", json!(null)),
        ToolCall::new("sing", json!(null)),
    ] {
        assert!(toolbox.clone().oneshot(call).await.is_err());
    }

    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<&'static [u8]>>();
    let response = client
        .get(format!("http://{address}/metrics").parse()?)
        .await?;
    let text = response.into_body().collect().await?.to_bytes();
    let text = std::str::from_utf8(&text)?;

    println!("Outcomes, waits and what is in flight, as Prometheus reads them:\n");
    let shown = [
        "toolbooth_calls_ended",
        "toolbooth_queue",
        "toolbooth_calls_in_flight",
    ];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if shown.iter().any(|name| line.starts_with(name)) {
            println!("{line}");
        }
    }
    let ended =
        r#"toolbooth_calls_ended_total{gen_ai_tool_name="crawl",toolbooth_outcome="completed"} 2"#;
    assert!(text.contains(ended));
    Ok(())
}
