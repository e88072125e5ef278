//! The page of a timeline in servers: axum below a path prefix, and hyper alone.

use std::net::SocketAddr;

use axum::Router;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use toolbooth::{BoxError, EventsLayer, ToolCall, tool_fn};
use toolbooth_tests::MINUTE;
use toolbooth_timeline::{Recorder, TimelineService};
use tower::{Layer, ServiceExt};

/// A connection of a client. Its drop closes the connection.
struct Client {
    sender: client::SendRequest<Empty<Bytes>>,
    connection: JoinHandle<()>,
}

// === impl Client ===

impl Client {
    async fn connect(server: SocketAddr) -> Result<Self, BoxError> {
        let stream = TcpStream::connect(server).await?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async {
            // A response that is not read ends with the connection.
            let _ = connection.await;
        });
        Ok(Self { sender, connection })
    }

    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, BoxError> {
        let request = Request::get(path)
            .header("host", "timeline")
            .body(Empty::new())?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn text(response: Response<Incoming>) -> Result<String, BoxError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec())?)
}

/// Returns the next server-sent event, or `None` at the end of the stream.
async fn event(response: &mut Response<Incoming>) -> Result<Option<String>, BoxError> {
    let mut event = String::new();
    // A frame of the server may arrive as several.
    while !event.ends_with("\n\n") {
        let Some(frame) = timeout(MINUTE, response.body_mut().frame()).await? else {
            return Ok(None);
        };
        let data = frame?.into_data().map_err(|_trailers| "trailers")?;
        event.push_str(std::str::from_utf8(&data)?);
    }
    Ok(Some(event))
}

async fn call(recorder: &Recorder, tool: &'static str) {
    let layer = EventsLayer::new(recorder.clone());
    let tool_service = layer.layer(tool_fn(tool, async |_: ()| Ok::<_, BoxError>("done")));
    let call = ToolCall::new(tool, json!(null));
    tool_service.oneshot(call).await.expect("it completes");
}

/// Serves the connections of a listener by hyper alone.
fn serve(listener: TcpListener, service: TimelineService) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let connection = server::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async {
                // A client that disconnects is no failure.
                let _ = connection.await;
            });
        }
    })
}

#[tokio::test]
async fn axum_serves_the_page_below_a_prefix() -> Result<(), BoxError> {
    let recorder = Recorder::new();
    call(&recorder, "search").await;
    let service = TimelineService::new(recorder.clone());
    let app = Router::new().nest_service("/debug/timeline", service.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stopped.await;
        service.close();
    });
    let serving = tokio::spawn(serving.into_future());

    let mut client = Client::connect(address).await?;
    for path in ["/debug/timeline", "/debug/timeline/"] {
        let page = client.get(path).await?;
        assert_eq!(page.status(), StatusCode::OK);
        assert!(text(page).await?.starts_with("<!doctype html>"), "{path}");
    }
    let feed = client.get("/debug/timeline/feed.json").await?;
    let feed: Value = serde_json::from_str(&text(feed).await?)?;
    assert_eq!(feed["calls"][0]["tool"], "search");
    let missing = client.get("/debug/timeline/app.js").await?;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(missing).await?, "");

    let mut events = client.get("/debug/timeline/events").await?;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let first = event(&mut events).await?.ok_or("a first event")?;
    assert!(first.starts_with("event: reset\ndata: {"), "{first}");
    call(&recorder, "fetch").await;
    let next = event(&mut events).await?.ok_or("an update")?;
    assert!(
        next.starts_with("data: {") && next.contains(r#""tool":"fetch""#),
        "{next}"
    );

    // The server waits for its streams, which end when the service is closed.
    drop(stop);
    assert_eq!(event(&mut events).await?, None);
    timeout(MINUTE, serving).await???;
    Ok(())
}

#[tokio::test]
async fn hyper_serves_the_page_and_its_updates() -> Result<(), BoxError> {
    let recorder = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = serve(listener, TimelineService::new(recorder.clone()));

    let mut client = Client::connect(address).await?;
    let page = client.get("/").await?;
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert!(text(page).await?.contains("data-live"));
    let mut events = client.get("/events").await?;
    assert!(
        event(&mut events)
            .await?
            .is_some_and(|event| event.contains(r#""calls":[]"#))
    );
    call(&recorder, "search").await;
    assert!(
        event(&mut events)
            .await?
            .is_some_and(|event| event.contains(r#""tool":"search""#))
    );
    serving.abort();
    Ok(())
}

#[tokio::test]
async fn client_that_disconnects_makes_room_for_another() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = TimelineService::new(Recorder::new()).with_max_clients(1);
    let serving = serve(listener, service);

    let mut first = Client::connect(address).await?;
    let mut events = first.get("/events").await?;
    assert!(event(&mut events).await?.is_some());
    let mut second = Client::connect(address).await?;
    let rejected = second.get("/events").await?;
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    text(rejected).await?;

    drop((first, events));
    let admitted = timeout(MINUTE, async {
        loop {
            let response = second.get("/events").await?;
            if response.status() == StatusCode::OK {
                return Ok::<_, BoxError>(response);
            }
            text(response).await?;
            yield_now().await;
        }
    });
    assert!(event(&mut admitted.await??).await?.is_some());
    serving.abort();
    Ok(())
}

#[tokio::test]
async fn client_that_reads_nothing_delays_no_other() -> Result<(), BoxError> {
    let recorder = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = serve(listener, TimelineService::new(recorder.clone()));

    let mut slow = Client::connect(address).await?;
    let unread = slow.get("/events").await?;
    for _ in 0..5_000 {
        call(&recorder, "search").await;
    }
    let mut quick = Client::connect(address).await?;
    let mut events = quick.get("/events").await?;
    let mut calls = 0;
    while calls < 5_000 {
        let event = event(&mut events).await?.ok_or("an update")?;
        calls += event.matches(r#""tool":"search""#).count();
    }
    assert_eq!(calls, 5_000);
    drop(unread);
    serving.abort();
    Ok(())
}
