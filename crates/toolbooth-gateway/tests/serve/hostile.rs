//! Clients that send what no client should: each receives a response, or is disconnected, and the
//! next one is served.

use std::fmt::Write;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Folder, Program, tenant, with_listeners, within};

const FILE: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
";
const MCP: &str = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    accept: application/json, text/event-stream\r\n";
const CALL: &str = "POST /tools/greet HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\n";

/// Sends bytes, and returns the status of the response; 0 if there is none before the connection is
/// closed.
async fn status(program: &Program, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(&program.http).await.expect("connected");
    // It may be closed before everything is sent.
    let _sent = within(stream.write_all(bytes)).await;
    read_status(&mut stream).await
}

async fn read_status(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    match within(stream.read_exact(&mut head)).await {
        Ok(_) => String::from_utf8_lossy(&head[9..])
            .parse()
            .expect("a status"),
        Err(_) => 0,
    }
}

fn request(head: &str, body: &str) -> Vec<u8> {
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn serves(program: &Program) {
    let (status, _) = program.call(None, "greet", &json!({ "name": "Ada" })).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn heads_are_bounded() {
    let program = Program::start(FILE).await;
    let long = format!("{MCP}x-long: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(status(&program, long.as_bytes()).await, 431);
    let mut many = MCP.to_owned();
    for n in 0..200 {
        write!(many, "x-{n}: 1\r\n").expect("to memory");
    }
    assert_eq!(
        status(&program, format!("{many}\r\n").as_bytes()).await,
        431
    );
    let path = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "a".repeat(100_000)
    );
    assert!([414, 431].contains(&status(&program, path.as_bytes()).await));
    assert_eq!(
        status(&program, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").await,
        400
    );
    assert_eq!(
        status(&program, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await / 100 % 5,
        0
    );
    serves(&program).await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let program = Program::start(FILE).await;
    for head in [MCP, CALL] {
        let large = format!("{head}content-length: 4194305\r\n\r\n");
        assert_eq!(status(&program, large.as_bytes()).await, 413);
        let huge = format!("{head}content-length: 18446744073709551615\r\n\r\n");
        assert_eq!(status(&program, huge.as_bytes()).await, 431);
        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..70 {
            chunked.extend(b"10000\r\n");
            chunked.extend([b' '; 0x1_0000]);
            chunked.extend(b"\r\n");
        }
        assert_eq!(status(&program, &chunked).await, 413);
    }
    serves(&program).await;
}

#[tokio::test]
async fn messages_that_are_none_receive_an_error_and_nothing_deep_is_parsed() {
    let program = Program::start(FILE).await;
    let deep = "[".repeat(100_000);
    let deep_call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"greet\",\
         \"arguments\":{{\"a\":{deep}"
    );
    let batch =
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    for body in [
        "",
        "{",
        "null",
        "1",
        "{}",
        batch,
        &deep,
        &deep_call,
        "\u{feff}{}",
    ] {
        let start = &body[..body.len().min(60)];
        let mcp = status(&program, &request(MCP, body)).await;
        assert!((400..500).contains(&mcp), "MCP: {mcp} for {start}");
        if body != "{}" {
            let api = status(&program, &request(CALL, body)).await;
            assert!((400..500).contains(&api), "API: {api} for {start}");
        }
    }
    let mut broken = request(CALL, "{\"name\":\"..\"}");
    let end = broken.len();
    broken[end - 4..end - 2].copy_from_slice(&[0xff, 0xfe]);
    assert_eq!(status(&program, &broken).await, 400);
    serves(&program).await;
}

#[tokio::test]
async fn slow_head_is_closed() {
    let folder = Folder::new();
    let toml = with_listeners(FILE).replace("[listen]", "[listen]\nheader_timeout = '200ms'");
    let file = folder.write("booth.toml", &toml);
    let program = Program::start_file(folder, &file).await;
    for head in ["", "GET", "GET /tools HTTP/1.1\r\nhost: localhost\r\n"] {
        let closed = status(&program, head.as_bytes()).await;
        assert!([0, 408].contains(&closed), "{closed} for {head}");
    }
    serves(&program).await;
}

#[tokio::test]
async fn connections_above_the_bound_receive_503_and_the_others_are_served() {
    let folder = Folder::new();
    let toml = with_listeners(FILE).replace("[listen]", "[listen]\nmax_connections = 2");
    let file = folder.write("booth.toml", &toml);
    let program = Program::start_file(folder, &file).await;
    let get = b"GET /tools HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&program.http).await.expect("connected");
        stream.write_all(get).await.expect("sent");
        assert_eq!(read_status(&mut stream).await, 200);
        open.push(stream);
    }
    let mut third = TcpStream::connect(&program.http).await.expect("connected");
    assert_eq!(read_status(&mut third).await, 503);
    // A connection that is closed makes room for another one.
    open.pop();
    within(async {
        while status(&program, get).await != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A client that sends no token costs no body.
#[tokio::test]
async fn token_is_checked_before_the_body_is_read() {
    let program = Program::start(&format!("{FILE}{}", tenant("alice", ""))).await;
    for head in [MCP, CALL] {
        let head = format!("{head}content-length: 1000\r\n\r\n");
        assert_eq!(status(&program, head.as_bytes()).await, 401);
    }
}
