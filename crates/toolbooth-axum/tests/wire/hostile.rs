//! Requests that no honest client sends. After each of them the server serves the next one.

use std::convert::Infallible;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const JSON: &str = "content-type: application/json\r\n";

/// Sends bytes on a connection of its own, and returns the status line of the response. Empty if
/// the server closes the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("a connection");
    // The server may have responded and closed before it read all.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    while !read.windows(2).any(|bytes| bytes == b"\r\n") {
        match in_time(stream.read_buf(&mut read)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let read = String::from_utf8_lossy(&read);
    read.lines().next().unwrap_or_default().to_owned()
}

async fn serves(server: &Server, case: &str) {
    server.idle(case).await;
    for client in Polite::both() {
        let response = client.call(server, "echo", "application/json").await;
        assert_eq!(response.status(), 200, "after {case}");
        rest(response.into_body()).await;
    }
}

#[tokio::test]
async fn requests_that_no_honest_client_sends_have_a_status_and_cost_nothing_later() {
    let server = Server::with(|router| router.with_body_timeout(Duration::from_millis(100))).await;
    let post = |path: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let deep = "[".repeat(1_000_000);
    let many: String = (0..5_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = "x".repeat(4_000);
    let huge = "POST /tools/echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 99999999999999\r\n\r\n{";
    let chunked = "POST /tools/echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\nzz\r\n";
    let cases: [(&str, Vec<u8>, &str); 13] = [
        (
            "deep JSON",
            post("/tools/echo", JSON, deep.as_bytes()),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "wrong UTF-8",
            post("/tools/echo", JSON, b"{\"a\":\"\xc3\"}"),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "a lone surrogate",
            post("/tools/echo", JSON, br#"{"a":"\ud800"}"#),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "a NUL",
            post("/tools/echo", JSON, b"{\"a\":\"\0\"}"),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "a body that never comes",
            huge.into(),
            "HTTP/1.1 408 Request Timeout",
        ),
        (
            "a chunk without a size",
            chunked.into(),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "thousands of headers",
            post("/tools/echo", &many, b""),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
        (
            "a path that is not UTF-8",
            post("/tools/%c3%28", JSON, b""),
            "HTTP/1.1 400 Bad Request",
        ),
        (
            "a long name",
            post(&format!("/tools/{long}"), JSON, b""),
            "HTTP/1.1 404 Not Found",
        ),
        (
            "a name with a NUL",
            post("/tools/a%00b", JSON, b""),
            "HTTP/1.1 404 Not Found",
        ),
        (
            "a path that goes up",
            post("/tools/..%2f..%2fetc", JSON, b""),
            "HTTP/1.1 404 Not Found",
        ),
        (
            "a content type that is not ASCII",
            post("/tools/echo", "content-type: \u{e9}\r\n", b"{}"),
            "HTTP/1.1 415 Unsupported Media Type",
        ),
        (
            "no HTTP",
            b"\x16\x03\x01\x02\x00\r\n\r\n".into(),
            "HTTP/1.1 400 Bad Request",
        ),
    ];
    for (case, bytes, expected) in cases {
        assert_eq!(raw(&server, &bytes).await, expected, "{case}");
        serves(&server, case).await;
    }
    let accept = format!("accept: {}\r\n", "text/event-stream;q=0.1,".repeat(1_000));
    let status = raw(&server, &post("/tools/echo", &accept, b"")).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    serves(&server, "a long list of media types").await;
}

/// A body without a declared length, of 1 GiB.
#[tokio::test]
async fn huge_body_is_rejected_before_it_is_read() {
    let server = Server::start().await;
    for client in Polite::both() {
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let chunk = Bytes::from(vec![b' '; 64 * 1024]);
        let chunks = stream::iter(0..16 * 1024).map(move |_| {
            count.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
            Ok::<_, Infallible>(chunk.clone())
        });
        let request = Request::post(format!("http://{}/tools/echo", server.address))
            .header("content-type", "application/json")
            .body(Body::from_stream(chunks))
            .expect("a request");
        let response = in_time(client.client.request(request)).await;
        // Over HTTP/1.1 the connection may be closed before the client reads the response.
        if let Ok(response) = response {
            assert_eq!(response.status(), 413);
        }
        let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes were sent");
        serves(&server, "a huge body").await;
    }
}
