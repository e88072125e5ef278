//! A graceful shutdown, as the crate's page describes it.

use axum::error_handling::HandleErrorLayer;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use std::convert::Infallible;
use tokio::sync::oneshot;
use toolbooth_axum::{FinalEventLayer, handle_error};

use super::*;

/// An application whose tools and routes end by one shutdown.
fn app(shutdown: &ShutdownLayer, gate: &Arc<Semaphore>) -> Router {
    let toolbox = tools(gate);
    let limited = ServiceBuilder::new()
        .layer(shutdown.clone())
        .service(toolbox.clone());
    let tools: Router = ToolRouter::with_service(toolbox, limited).into_router();
    let ticks = get(async || {
        let first = stream::iter([Ok::<_, Infallible>(Event::default().data("tick"))]);
        Sse::new(first.chain(stream::pending()))
    });
    let layers = ServiceBuilder::new()
        .layer(FinalEventLayer::new())
        .layer(HandleErrorLayer::new(handle_error))
        .layer(shutdown.clone());
    Router::new()
        .route("/ticks", ticks)
        .layer(layers)
        .merge(tools)
}

#[tokio::test]
async fn open_streams_end_with_an_error_event_and_new_calls_are_rejected() {
    for client in Polite::both() {
        let (shutdown, gate) = (ShutdownLayer::new(), Arc::new(Semaphore::new(0)));
        let app = app(&shutdown, &gate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (terminate, terminated) = oneshot::channel::<()>();
        let stopping = shutdown.clone();
        let serve = axum::serve(listener, app).with_graceful_shutdown(async move {
            let _ = terminated.await;
            stopping.shutdown(PATIENCE, PATIENCE).await;
        });
        let server = tokio::spawn(serve.into_future());

        let mut steps = client
            .send(request(address, "steps", "text/event-stream"))
            .await
            .into_body();
        assert!(chunk(&mut steps).await.contains("step 0"));
        let ticks = Request::get(format!("http://{address}/ticks")).body(Body::empty());
        let mut ticks = client.send(ticks.expect("a request")).await.into_body();
        assert_eq!(chunk(&mut ticks).await, "data: tick\n\n");
        terminate.send(()).expect("the server runs");
        eventually("the shutdown begins", || shutdown.is_shutting_down()).await;

        // Within the grace the streams are open, and new calls are rejected.
        for accept in ["application/json", "text/event-stream"] {
            let rejected = client.send(request(address, "echo", accept)).await;
            assert_eq!(rejected.status(), 503);
            assert_eq!(rejected.headers()["retry-after"], "5");
            assert_eq!(
                rejected.headers()["content-type"],
                "application/problem+json"
            );
            let body = rest(rejected.into_body()).await;
            let body: serde_json::Value = serde_json::from_slice(&body).expect("json");
            assert_eq!(body["detail"], "the service is shutting down");
        }
        // The tool still works.
        gate.add_permits(1);
        assert!(chunk(&mut steps).await.contains("step 1"));

        // At its end they end, each with a complete body. A second shutdown shortens the grace.
        let report = in_time(shutdown.shutdown(Duration::ZERO, PATIENCE)).await;
        assert_eq!((report.cancelled, report.orphaned), (2, 0));
        for stream in [steps, ticks] {
            let last = rest(stream).await;
            let last = std::str::from_utf8(&last).expect("a text");
            assert!(last.starts_with("event: error\ndata: {"), "{last}");
            assert!(last.contains("\"status\":503"), "{last}");
            assert!(last.ends_with("}\n\n"), "{last}");
        }
        let ended = in_time(server).await.expect("no panic");
        ended.expect("the server has ended");
        assert_eq!(shutdown.in_flight(), 0);
    }
}
