//! What a client reads of an error.

use axum::error_handling::HandleErrorLayer;
use axum::response::IntoResponse;
use axum::routing::get;
use http_body_util::BodyExt;
use toolbooth::{CatchPanicLayer, ToolError};
use tower::ServiceBuilder;

use super::*;

const SECRET: &str = "postgres://admin:hunter2@db";

#[expect(clippy::panic, reason = "it is what the test is about")]
async fn panics() -> &'static str {
    panic!("no route to {SECRET}")
}

/// Case E3. An error response that a program makes itself.
#[tokio::test]
async fn client_reads_a_fixed_text_and_the_log_has_the_panic() {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&logged);
    let on_error = move |error: ToolError| {
        let texts = [error.to_string(), format!("{error:?}")];
        log.lock().expect("no panic").push(texts);
        let response = (error.status(), error.public_message()).into_response();
        async move { response }
    };
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(on_error))
        .layer(CatchPanicLayer::new().with_name("tenant-acme"));
    let app = Router::new().route("/", get(panics)).layer(layers);
    let server = Server::serve(app, limits(1), Log::default()).await;
    for client in Polite::both() {
        let response = client.get(&server, "/").await;
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes(), "the tool failed");
    }
    let logged = logged.lock().expect("no panic");
    assert_eq!(logged.len(), 2);
    for texts in logged.iter() {
        assert!(texts.iter().all(|text| text.contains(SECRET)), "{texts:?}");
    }
}
