//! Clients that misbehave: they leave before, within and after the body, and they stop reading.

use axum::Json;
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::time::sleep_until;

use super::*;

const GONE: [Outcome; 1] = [Outcome::Cancelled];
const DONE: [Outcome; 1] = [Outcome::Completed];
const STRUCK: [Outcome; 1] = [Outcome::TimedOut];

fn routes() -> Router {
    Router::new()
        .route("/json", get(async || Json("whole")))
        .route("/never", get(std::future::pending::<()>))
        .route("/endless", get(async || endless()))
        .route("/lines", get(async || lines()))
}

/// A line now and then, without end.
fn lines() -> Body {
    let lines = stream::repeat("line\n").then(async |line| {
        sleep(ms(5)).await;
        Ok::<_, Infallible>(line)
    });
    Body::from_stream(lines)
}

#[tokio::test]
async fn client_that_leaves_before_its_request_is_whole_called_nothing() {
    let server = Server::start(routes(), limits(1)).await;
    drop(server.connect().await);
    for part in ["GET", "GET /json HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(part.as_bytes()).await.expect("it reads");
        drop(stream);
    }
    // A whole one afterwards finds everything free.
    let [http1, _] = Polite::both();
    let answer = http1.get(&server, "/json").await;
    answer.into_body().collect().await.expect("whole");
    server.ended("the whole one", &DONE).await;
}

#[tokio::test]
async fn client_that_leaves_before_the_answer_cancels_its_call() {
    let server = Server::start(routes(), limits(1)).await;
    let stream = server.ask("GET /never").await;
    eventually("the call runs", || server.in_flight() == 1).await;
    drop(stream);
    server.ended("http1", &GONE).await;

    // Over HTTP/2: by the connection, or by the one stream.
    for whole_connection in [true, false] {
        let client = Http2::ask(&server, "/never").await;
        eventually("the call runs", || server.in_flight() == 1).await;
        if whole_connection {
            drop(client);
            server.ended("the connection is gone", &GONE).await;
        } else {
            client.reset();
            server.ended("the stream is gone", &GONE).await;
        }
    }
}

#[tokio::test]
async fn client_that_leaves_a_waiting_line_called_no_tool_and_holds_nothing() {
    let server = Server::start(routes(), limits(1)).await;
    let running = server.ask("GET /never").await;
    eventually("the call runs", || server.in_flight() == 1).await;
    let waiting = server.ask("GET /json").await;
    eventually("one waits", || server.limits.at_once.queued() == 1).await;
    drop(waiting);
    eventually("none waits", || server.limits.at_once.queued() == 0).await;
    assert_eq!(server.in_flight(), 1);
    drop(running);
    server.ended("both", &[Outcome::Cancelled; 2]).await;
}

#[tokio::test]
async fn client_that_leaves_within_the_body_cancels_its_call() {
    let server = Server::start(routes(), limits(1)).await;
    for path in ["/endless", "/lines"] {
        let mut stream = server.ask(&format!("GET {path}")).await;
        head(&mut stream).await;
        let mut some = Vec::new();
        stream.read_buf(&mut some).await.expect("some of it");
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
async fn client_that_leaves_after_the_body_had_a_complete_answer() {
    let server = Server::start(routes(), limits(1)).await;
    let mut stream = server.ask("GET /json").await;
    let (_, mut body) = head(&mut stream).await;
    while body.len() < 7 {
        stream.read_buf(&mut body).await.expect("more");
    }
    drop(stream);
    server.ended("http1", &DONE).await;

    // And over a connection that stays, one after the other.
    for client in Polite::both() {
        for _ in 0..3 {
            let answer = client.get(&server, "/json").await;
            answer.into_body().collect().await.expect("whole");
            server.ended("kept alive", &DONE).await;
        }
    }
}

/// The limit strikes in time although nobody asks the body for more: the connection is full.
async fn strikes_in_time(server: &Server) {
    eventually("it is called", || server.log.calls() == 1).await;
    let began = server.log.with(|told| told.calls[0]);
    // This timer fires behind the limit's, however late both are; then the tasks that it woke have their turn.
    sleep_until(began + ms(400)).await;
    tokio::task::yield_now().await;
    assert_eq!(server.in_flight(), 0, "the permit is back by 400 ms");
    server.ended("it stopped reading", &STRUCK).await;
}

#[tokio::test]
async fn limit_strikes_though_the_client_stops_reading() {
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(300));
    let server = Server::start(routes(), limits).await;

    let mut stream = server.ask("GET /endless").await;
    strikes_in_time(&server).await;
    // It reads on, and finds that the answer was cut: its last chunk, which would be empty, never comes.
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    let _ = ended.expect("the connection is closed");
    assert!(read.starts_with(b"HTTP/1.1 200 OK"));
    assert!(!read.ends_with(b"\r\n0\r\n\r\n"));

    for client in Polite::both() {
        let answer = client.get(&server, "/endless").await;
        strikes_in_time(&server).await;
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Ok(frame) = body.frame().await.expect("an error before the end") {
            bytes += frame.into_data().expect("data").len();
        }
        assert!(bytes > 0, "http2 {}", client.http2);
    }
}
