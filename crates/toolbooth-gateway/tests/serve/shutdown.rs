//! The end of the program.

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Program, call, text, within};

const TOOLS: &str = "
[tools.nap]
command = ['sh', '-c', 'until [ -e done ]; do sleep 0.05; done; echo rested']
[tools.never]
command = ['sleep', '1000']
";

#[tokio::test]
async fn call_that_runs_ends_within_the_grace_and_new_ones_are_rejected() {
    let mut program = Program::start(&format!("{TOOLS}[shutdown]\ngrace = '1m'\n")).await;
    let client = program.mcp(None).await;
    let running = tokio::spawn(async move { call(&client, "nap", json!({})).await });
    program.in_flight(1).await;
    program.signal(Signal::TERM);
    program.logged("new calls are rejected").await;

    let (head, ready) = program.operator("/ready").await;
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!(
        (head.status().as_u16(), &ready["phase"]),
        (503, &json!("draining"))
    );
    assert_eq!(program.operator("/health").await.0.status(), 200);
    let (status, problem) = program.call(None, "never", &json!({})).await;
    assert_eq!((status, &problem["kind"]), (503, &json!("overloaded")));

    program.folder.write("done", "");
    let rested = within(running).await.expect("no panic").expect("a result");
    assert_eq!(text(&rested), "rested\n");
    assert_eq!(program.exit().await.code(), Some(0));
    let report = program.logged("the calls have ended").await;
    assert!(
        report.contains("\"completed\":1,\"cancelled\":0,\"abandoned\":0"),
        "{report}"
    );
}

#[tokio::test]
async fn call_that_outlasts_the_grace_is_cancelled_with_an_error_result() {
    let mut program = Program::start(&format!("{TOOLS}[shutdown]\ngrace = '100ms'\n")).await;
    let client = program.mcp(None).await;
    let running = tokio::spawn(async move { call(&client, "never", json!({})).await });
    program.in_flight(1).await;
    program.signal(Signal::INT);
    let result = within(running).await.expect("no panic").expect("a result");
    assert_eq!(result.is_error, Some(true));
    assert!(text(&result).contains("shut"), "{}", text(&result));
    assert_eq!(program.exit().await.code(), Some(0));
    let report = program.logged("the calls have ended").await;
    assert!(
        report.contains("\"completed\":0,\"cancelled\":1,\"abandoned\":0"),
        "{report}"
    );
}

#[tokio::test]
async fn second_signal_ends_the_program_at_once() {
    let mut program = Program::start(&format!("{TOOLS}[shutdown]\ngrace = '1h'\n")).await;
    let client = program.mcp(None).await;
    let running = tokio::spawn(async move { call(&client, "never", json!({})).await });
    program.in_flight(1).await;
    program.signal(Signal::TERM);
    program.logged("new calls are rejected").await;
    program.signal(Signal::TERM);
    assert_eq!(program.exit().await.code(), Some(4));
    running.abort();
}

/// A stream of the page, and an idle connection, delay no shutdown.
#[tokio::test]
async fn open_connections_are_closed() {
    let mut program = Program::start(TOOLS).await;
    let mut page = TcpStream::connect(&program.admin).await.expect("connected");
    let request = "GET /timeline/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    page.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    page.read_exact(&mut head).await.expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200");
    let idle = TcpStream::connect(&program.http).await.expect("connected");
    program.signal(Signal::TERM);
    assert_eq!(program.exit().await.code(), Some(0));
    drop(idle);
}
