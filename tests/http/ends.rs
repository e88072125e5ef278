//! A response of any shape completes its call when it is delivered.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};

use super::*;

const DONE: [Outcome; 1] = [Outcome::Completed];

/// A body of these chunks that never ends.
fn stuck(chunks: &'static [&'static str]) -> Body {
    let chunks = stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(Bytes::from(*chunk)));
    Body::from_stream(chunks.chain(stream::pending()))
}

fn chunks(chunks: &'static [&'static str]) -> Body {
    Body::from_stream(stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(*chunk)))
}

fn with_trailers() -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let frames = [Frame::data(Bytes::from("abc")), Frame::trailers(trailers)];
    Body::new(StreamBody::new(
        stream::iter(frames).map(Ok::<_, Infallible>),
    ))
}

fn shapes() -> Router {
    let length = |body| ([(header::CONTENT_LENGTH, "5")], body).into_response();
    Router::new()
        .route("/json", get(async || Json(serde_json::json!({ "a": 1 }))))
        .route("/text", get(async || "whole"))
        .route("/empty", get(async || ()))
        .route("/204", get(async || (StatusCode::NO_CONTENT, stuck(&[]))))
        .route("/304", get(async || (StatusCode::NOT_MODIFIED, stuck(&[]))))
        .route("/length", get(async move || length(chunks(&["who", "le"]))))
        .route("/stuck", get(async move || length(stuck(&["who", "le"]))))
        .route("/chunks", get(async || chunks(&["who", "le"])))
        .route("/trailers", get(async || with_trailers()))
        .route("/never", any(async || stuck(&[])))
}

/// The declared length of a response.
fn content_length<B>(response: &Response<B>) -> Option<&str> {
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    Some(length.to_str().expect("a number"))
}

#[tokio::test]
async fn response_of_any_shape_completes_its_call() {
    let server = Server::start(shapes(), limits(1)).await;
    for client in Polite::both() {
        for (path, status, length, body) in [
            ("/json", 200, Some("7"), r#"{"a":1}"#),
            ("/text", 200, Some("5"), "whole"),
            ("/empty", 200, Some("0"), ""),
            ("/204", 204, None, ""),
            ("/304", 304, None, ""),
            ("/length", 200, Some("5"), "whole"),
            ("/chunks", 200, None, "whole"),
            ("/trailers", 200, None, "abc"),
        ] {
            let case = format!("{path}, http2 {}", client.http2);
            // Over HTTP/2 hyper polls every body to its end, which a stuck one does not reach.
            if client.http2 && matches!(path, "/204" | "/304") {
                continue;
            }
            let response = client.get(&server, path).await;
            assert_eq!(response.status().as_u16(), status, "{case}");
            assert_eq!(content_length(&response), length, "{case}");
            let read = response.into_body().collect().await.expect("a body");
            let trailer = read.trailers().and_then(|trailers| trailers.get("x-sum"));
            let expected = client.http2 && path == "/trailers";
            assert_eq!(trailer.is_some(), expected, "{case}");
            assert_eq!(read.to_bytes(), body, "{case}");
            server.ended(&case, &DONE).await;
        }
    }
}

#[tokio::test]
async fn body_of_a_declared_length_completes_after_its_last_byte() {
    let server = Server::start(shapes(), limits(1)).await;
    let mut stream = server.request("GET /stuck").await;
    let (head, mut body) = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    while body.len() < 5 {
        stream.read_buf(&mut body).await.expect("more");
    }
    assert_eq!(body, b"whole");
    server.ended("/stuck", &DONE).await;
}

#[tokio::test]
async fn response_to_head_completes_without_its_body() {
    let server = Server::start(shapes(), limits(1)).await;
    for client in Polite::both() {
        for (path, length) in [
            ("/json", Some("7")),
            ("/text", Some("5")),
            ("/length", Some("5")),
            ("/stuck", Some("5")),
            ("/chunks", None),
            ("/never", None),
            ("/204", None),
        ] {
            let case = format!("{path}, http2 {}", client.http2);
            let response = client.send(Method::HEAD, server.address, path, "").await;
            assert_eq!(content_length(&response), length, "{case}");
            server.ended(&case, &DONE).await;
            let body = response.into_body().collect().await.expect("a body");
            assert!(body.to_bytes().is_empty(), "{case}");
        }
    }
}

/// Directly inside hyper, since axum removes the body of a response to HEAD.
#[tokio::test]
async fn response_to_head_completes_inside_hyper_alone() {
    let (limits, log) = (limits(1), Log::default());
    let (listener, address) = listen().await;
    let follow = log.clone();
    let service = ServiceBuilder::new()
        .map_request(move |request: http::Request<Incoming>| follow.follow(request))
        .layer(limits.layers())
        .service(service_fn(async |_: http::Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(stuck(&["never sent"])))
        }));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // It fails when its client disconnects.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let server = Server {
        address,
        limits,
        log,
        task,
    };
    let [http1, http2] = Polite::both();
    for client in [http1, http2] {
        let response = client.send(Method::HEAD, address, "/", "").await;
        assert_eq!(response.status(), 200);
        let case = format!("http2 {}", client.http2);
        server.ended(&case, &DONE).await;
    }
}

#[tokio::test]
async fn upgrade_completes_its_call_with_status_101() {
    // An echo in another protocol; a websocket starts in the same way.
    let echo = get(async |mut request: Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.expect("the upgrade"));
            let mut word = [0; 4];
            while stream.read_exact(&mut word).await.is_ok() {
                stream.write_all(&word).await.expect("the server reads");
            }
        });
        let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "echo")];
        (
            StatusCode::SWITCHING_PROTOCOLS,
            head,
            Body::new(Full::<Bytes>::default()),
        )
    });
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(100));
    let server = Server::start(Router::new().route("/echo", echo), limits).await;
    let mut stream = server.connect().await;
    let ask = "GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream
        .write_all(ask.as_bytes())
        .await
        .expect("the server reads");
    let (head, rest) = head(&mut stream).await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols"),
        "{head}"
    );
    assert!(rest.is_empty());
    server.ended("the handshake", &DONE).await;
    // The connection outlives the limit.
    for word in [b"ping", b"pong"] {
        sleep(ms(110)).await;
        stream.write_all(word).await.expect("the server reads");
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.expect("an echo");
        assert_eq!(&back, word);
    }
    assert_eq!((server.log.calls(), server.in_flight()), (0, 0));
}
