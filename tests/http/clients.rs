//! Clients that disconnect before, within and after the body, and clients that stop reading.

use axum::Json;
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::time::sleep_until;

use super::*;

const GONE: [Outcome; 1] = [Outcome::Cancelled];
const DONE: [Outcome; 1] = [Outcome::Completed];
const EXPIRED: [Outcome; 1] = [Outcome::TimedOut];

fn routes() -> Router {
    Router::new()
        .route("/json", get(async || Json("whole")))
        .route("/never", get(std::future::pending::<()>))
        .route("/endless", get(async || endless()))
        .route("/lines", get(async || lines()))
}

/// A line every 5 ms, without end.
fn lines() -> Body {
    let lines = stream::repeat("line\n").then(async |line| {
        sleep(ms(5)).await;
        Ok::<_, Infallible>(line)
    });
    Body::from_stream(lines)
}

#[tokio::test]
async fn client_that_disconnects_within_its_request_makes_no_call() {
    let server = Server::start(routes(), limits(1)).await;
    drop(server.connect().await);
    for part in ["GET", "GET /json HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = server.connect().await;
        stream
            .write_all(part.as_bytes())
            .await
            .expect("the server reads");
        drop(stream);
    }
    // A complete request completes.
    let [http1, _] = Polite::both();
    let response = http1.get(&server, "/json").await;
    response.into_body().collect().await.expect("a body");
    server.ended("the complete request", &DONE).await;
}

#[tokio::test]
async fn client_that_disconnects_before_the_response_cancels_its_call() {
    let server = Server::start(routes(), limits(1)).await;
    let stream = server.request("GET /never").await;
    eventually("the call runs", || server.in_flight() == 1).await;
    drop(stream);
    server.ended("http1", &GONE).await;

    // Over HTTP/2, by the connection or by one stream.
    for whole_connection in [true, false] {
        let client = Http2::request(&server, "/never").await;
        eventually("the call runs", || server.in_flight() == 1).await;
        if whole_connection {
            drop(client);
            server.ended("the connection is dropped", &GONE).await;
        } else {
            client.reset();
            server.ended("the stream is reset", &GONE).await;
        }
    }
}

#[tokio::test]
async fn client_that_disconnects_while_queued_leaves_the_queue() {
    let server = Server::start(routes(), limits(1)).await;
    let running = server.request("GET /never").await;
    eventually("the call runs", || server.in_flight() == 1).await;
    let waiting = server.request("GET /json").await;
    eventually("one waits", || server.limits.at_once.queued() == 1).await;
    drop(waiting);
    eventually("none waits", || server.limits.at_once.queued() == 0).await;
    assert_eq!(server.in_flight(), 1);
    drop(running);
    server.ended("both", &[Outcome::Cancelled; 2]).await;
}

#[tokio::test]
async fn client_that_disconnects_within_the_body_cancels_its_call() {
    let server = Server::start(routes(), limits(1)).await;
    for path in ["/endless", "/lines"] {
        let mut stream = server.request(&format!("GET {path}")).await;
        head(&mut stream).await;
        let mut some = Vec::new();
        stream.read_buf(&mut some).await.expect("a part of it");
        assert_eq!(server.in_flight(), 1);
        drop(stream);
        server.ended(path, &GONE).await;

        for client in Polite::both() {
            let case = format!("{path}, http2 {}", client.http2);
            let mut body = client.get(&server, path).await.into_body();
            let frame = body.frame().await.expect("a frame").expect("of data");
            assert!(frame.is_data(), "{case}");
            assert_eq!(server.in_flight(), 1, "{case}");
            drop(body);
            server.ended(&case, &GONE).await;
        }
    }
}

#[tokio::test]
async fn client_that_disconnects_after_the_body_completes_its_call() {
    let server = Server::start(routes(), limits(1)).await;
    let mut stream = server.request("GET /json").await;
    let (_, mut body) = head(&mut stream).await;
    while body.len() < 7 {
        stream.read_buf(&mut body).await.expect("more");
    }
    drop(stream);
    server.ended("http1", &DONE).await;

    // And several calls on one connection.
    for client in Polite::both() {
        for _ in 0..3 {
            let response = client.get(&server, "/json").await;
            response.into_body().collect().await.expect("a body");
            server.ended("kept alive", &DONE).await;
        }
    }
}

/// Asserts that the limit expires in time although the body is not polled: the connection is full.
async fn expires_in_time(server: &Server) {
    eventually("it is called", || server.log.calls() == 1).await;
    let began = server.log.with(|entries| entries.calls[0]);
    // This timer fires after that of the limit, however late both are; then the woken tasks run.
    sleep_until(began + ms(400)).await;
    tokio::task::yield_now().await;
    assert_eq!(server.in_flight(), 0, "the permit is released by 400 ms");
    server.ended("it stopped reading", &EXPIRED).await;
}

#[tokio::test]
async fn limit_expires_although_the_client_stops_reading() {
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(300));
    let server = Server::start(routes(), limits).await;

    let mut stream = server.request("GET /endless").await;
    expires_in_time(&server).await;
    // It reads on. The response ends without its last, empty chunk.
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    let _ = ended.expect("the connection is closed");
    assert!(read.starts_with(b"HTTP/1.1 200 OK"));
    assert!(!read.ends_with(b"\r\n0\r\n\r\n"));

    for client in Polite::both() {
        let response = client.get(&server, "/endless").await;
        expires_in_time(&server).await;
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Ok(frame) = body.frame().await.expect("an error before the end") {
            bytes += frame.into_data().expect("data").len();
        }
        assert!(bytes > 0, "http2 {}", client.http2);
    }
}
