//! Calls that are dropped: the server is notified exactly if it may have read the request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Duration, sleep, timeout};
use toolbooth_core::ToolCall;

use super::Connection;
use super::hostile::connect;
use crate::remote::call::Call;

const LONG: Duration = Duration::from_secs(60);

/// Initializes its client, then notes what it reads. It responds to no call.
async fn server(pipe: DuplexStream, notes: mpsc::UnboundedSender<Value>) {
    let (reader, mut writer) = tokio::io::split(pipe);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message: Value = serde_json::from_str(&line).expect("a client writes JSON");
        let id = &message["id"];
        let response = match message["method"].as_str() {
            Some("server/discover") => {
                let error = json!({ "code": -32601, "message": "unknown" });
                json!({ "jsonrpc": "2.0", "id": id, "error": error })
            }
            Some("initialize") => {
                let result = json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": "silent", "version": "1" },
                });
                json!({ "jsonrpc": "2.0", "id": id, "result": result })
            }
            _ => {
                let _ = notes.send(message);
                continue;
            }
        };
        let written = writer.write_all(format!("{response}\n").as_bytes()).await;
        written.expect("the client reads");
    }
}

/// Polls a call and lets other tasks run, in turn and this many times, and drops the call.
async fn drop_after(steps: usize, connection: Arc<Connection>) {
    let call = ToolCall::new("a", json!({}));
    let mut call = Call {
        context: call.context().clone(),
        tool: "a".into(),
        arguments: None,
        idle_timeout: None,
    };
    let run = call.run(&connection);
    tokio::pin!(run);
    for step in 0..steps {
        if step % 2 == 1 {
            yield_now().await;
            continue;
        }
        let polled = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "there is no response");
    }
}

/// The ids of the calls that a server read, and of those that were cancelled, in order.
#[derive(Debug, Default, PartialEq)]
struct Noted {
    calls: Vec<Value>,
    cancelled: Vec<Value>,
}

impl Noted {
    fn note(&mut self, mut message: Value) {
        match message["method"].as_str() {
            Some("tools/call") => self.calls.push(message["id"].take()),
            Some("notifications/cancelled") => {
                let id = message["params"]["requestId"].take();
                assert!(self.calls.contains(&id), "cancelled before it was called");
                self.cancelled.push(id);
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_cancelled_once_if_it_was_written_and_not_otherwise() {
    let mut all = Vec::new();
    for steps in 0..16 {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (sender, mut notes) = mpsc::unbounded_channel();
        tokio::spawn(server(theirs, sender));
        let connection = Arc::new(connect(ours).await.expect("a connection"));
        drop_after(steps, Arc::clone(&connection)).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(connection.in_flight(), 0, "{steps} steps");
        let mut noted = Noted::default();
        while let Ok(message) = notes.try_recv() {
            noted.note(message);
        }
        assert_eq!(noted.calls, noted.cancelled, "{steps} steps");
        all.push(noted.calls.len());
    }
    // Dropped before it is queued, before it is written, and afterwards.
    assert_eq!((all[0], all[1], all[15]), (0, 0, 1), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_dropped_on_other_threads_are_cancelled_after_they_were_written() {
    let (ours, theirs) = tokio::io::duplex(1 << 12);
    let (sender, mut notes) = mpsc::unbounded_channel();
    tokio::spawn(server(theirs, sender));
    let connection = Arc::new(connect(ours).await.expect("a connection"));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..2_000 {
        tasks.spawn(drop_after(number % 5, Arc::clone(&connection)));
    }
    while tasks.join_next().await.is_some() {}
    assert_eq!(connection.in_flight(), 0);
    drop(connection);
    let mut noted = Noted::default();
    let read = timeout(LONG, async {
        while let Some(message) = notes.recv().await {
            noted.note(message);
        }
    });
    assert!(read.await.is_ok(), "the connection is open");
    assert!(noted.cancelled.len() <= noted.calls.len());
}
