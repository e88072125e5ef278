//! A page in an axum application that shows its calls as they happen.
//!
//! ```text
//! cargo run -p toolbooth-examples --features servers --example timeline_app
//! cargo run -p toolbooth-examples --features servers --example timeline_app -- --serve
//! ```
//!
//! With `--serve` it makes calls until ctrl-c: open the address that it prints. Otherwise it makes
//! calls for a second, requests the page and its feed itself, and ends.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod calls;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;
use toolbooth::BoxError;
use toolbooth_timeline::{Recorder, TimelineService};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The recorder is a sink of the events layer around the tools, and the source of the page.
    let recorder = Recorder::new();
    let calls = tokio::spawn(calls::make(calls::toolbox(&recorder)?));

    // A client of the page sees the names of tools and tenants, but no contents.
    let timeline = TimelineService::new(recorder.clone());
    let app = Router::new().nest_service("/timeline", timeline.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let page = format!("http://{}/timeline", listener.local_addr()?);
    println!("The calls are shown at {page}");

    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stopped.await;
        // The server waits for its responses. The streams of updates would not end.
        timeline.close();
    });
    let server = tokio::spawn(server.into_future());

    if std::env::args().any(|arg| arg == "--serve") {
        tokio::signal::ctrl_c().await?;
    } else {
        sleep(Duration::from_secs(1)).await;
        look(&page).await?;
    }
    calls.abort();
    drop(stop);
    server.await??;

    let timeline = recorder.snapshot();
    let ended = timeline.calls.iter().filter(|call| call.end.is_some());
    println!("{} calls have ended.", ended.count());
    Ok(())
}

/// Requests the page and its feed, as a browser does.
async fn look(page: &str) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    for path in ["", "/feed.json"] {
        let response = client.get(format!("{page}{path}").parse()?).await?;
        let (status, headers) = (response.status(), response.headers());
        let kind = headers.get("content-type").ok_or("it has a type")?;
        println!("GET /timeline{path}: {status}, {}", kind.to_str()?);
    }
    Ok(())
}
