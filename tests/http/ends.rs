//! Answers of every shape end their call as completed, as soon as they are delivered.

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

/// A body that gives these chunks, and then neither more nor its end.
fn stuck(chunks: &'static [&'static str]) -> Body {
    let chunks = stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(Bytes::from(*chunk)));
    Body::from_stream(chunks.chain(stream::pending()))
}

fn pieces(chunks: &'static [&'static str]) -> Body {
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
        .route("/length", get(async move || length(pieces(&["who", "le"]))))
        .route("/stuck", get(async move || length(stuck(&["who", "le"]))))
        .route("/chunks", get(async || pieces(&["who", "le"])))
        .route("/trailers", get(async || with_trailers()))
        .route("/never", any(async || stuck(&[])))
}

#[tokio::test]
async fn answers_of_every_shape_complete_their_call() {
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
            // Over HTTP/2 hyper asks every body for its end, and a stuck one has none.
            if client.http2 && matches!(path, "/204" | "/304") {
                continue;
            }
            let answer = client.get(&server, path).await;
            assert_eq!(answer.status().as_u16(), status, "{case}");
            let told = answer.headers().get(header::CONTENT_LENGTH);
            assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{case}");
            let read = answer.into_body().collect().await.expect("whole");
            let trailer = read.trailers().and_then(|trailers| trailers.get("x-sum"));
            let expected = client.http2 && path == "/trailers";
            assert_eq!(trailer.is_some(), expected, "{case}");
            assert_eq!(read.to_bytes(), body, "{case}");
            server.ended(&case, &DONE).await;
        }
    }
}

#[tokio::test]
async fn body_of_a_declared_length_completes_behind_its_last_byte() {
    let server = Server::start(shapes(), limits(1)).await;
    let mut stream = server.ask("GET /stuck").await;
    let (head, mut body) = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    while body.len() < 5 {
        stream.read_buf(&mut body).await.expect("more");
    }
    assert_eq!(body, b"whole");
    server.ended("/stuck", &DONE).await;
}

#[tokio::test]
async fn answer_to_head_completes_with_its_head_whatever_its_body_is() {
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
            let answer = client.send(Method::HEAD, server.address, path, "").await;
            let told = answer.headers().get(header::CONTENT_LENGTH);
            assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{case}");
            server.ended(&case, &DONE).await;
            let body = answer.into_body().collect().await.expect("whole");
            assert!(body.to_bytes().is_empty(), "{case}");
        }
    }
}

/// The layers right behind hyper, without axum, which would take away the body of an answer to HEAD itself.
#[tokio::test]
async fn answer_to_head_completes_behind_hyper_alone() {
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
                // It ends with an error when its client leaves.
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
        let answer = client.send(Method::HEAD, address, "/", "").await;
        assert_eq!(answer.status(), 200);
        let case = format!("http2 {}", client.http2);
        server.ended(&case, &DONE).await;
    }
}

#[tokio::test]
async fn upgrade_passes_and_completes_its_call_with_its_101() {
    // An echo in another protocol, which is how a websocket begins, too.
    let echo = get(async |mut request: Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.expect("the upgrade"));
            let mut word = [0; 4];
            while stream.read_exact(&mut word).await.is_ok() {
                stream.write_all(&word).await.expect("it reads");
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
    stream.write_all(ask.as_bytes()).await.expect("it reads");
    let (head, rest) = head(&mut stream).await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols"),
        "{head}"
    );
    assert!(rest.is_empty());
    server.ended("the handshake", &DONE).await;
    // The limit is past, and the connection goes on.
    for word in [b"ping", b"pong"] {
        sleep(ms(110)).await;
        stream.write_all(word).await.expect("it reads");
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.expect("it answers");
        assert_eq!(&back, word);
    }
    assert_eq!((server.log.calls(), server.in_flight()), (0, 0));
}
