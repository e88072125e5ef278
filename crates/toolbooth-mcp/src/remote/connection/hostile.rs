//! A server that writes anything: each call gets an outcome, and nothing is left running.

use std::cell::Cell;
use std::panic;
use std::sync::{Arc, Once};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use toolbooth_core::ToolCall;

use super::{Connection, Lost, Tap, Tapped, lifecycle, serve};
use crate::remote::RemoteError;
use crate::remote::call::Call;
use crate::remote::stdio::StdioTransport;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(120);

/// The start of a notification of progress: `@progress`.
const PROGRESS: &str =
    r#""jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":@token"#;

/// What the server writes on a request. `@id` is the id of the request, `@token` its progress
/// token, and `@deep` a list of a great depth.
const WRITTEN: [&str; 40] = [
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[{"type":"text","text":"a"}]}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[{"type":"image","data":"%"}]}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[],"structuredContent":@deep}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[{"type":"x"}],"isError":true}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"resultType":"input_required","inputRequests":{}}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"resultType":"task","task":{"taskId":"a"}}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[{"type":"text","text":"\ud83d"}]}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"content":[],"_meta":{"a":1e999}}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"tools":[{"name":"a","inputSchema":{}}]}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"tools":[],"nextCursor":"a"}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{"tools":@deep}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":{}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":null}"#,
    r#"{"jsonrpc":"2.0","id":@id,"result":@deep}"#,
    r#"{"jsonrpc":"2.0","id":@id,"error":{"code":-32601,"message":"m","data":@deep}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"error":{"code":99999999999,"message":"m"}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"error":{"code":-32603,"message":"Transport closed"}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"error":{"code":-1}}"#,
    r#"{"jsonrpc":"2.0","id":@id,"error":"e"}"#,
    r#"{"jsonrpc":"2.0","id":"@id","result":{"content":[]}}"#,
    r#"{"jsonrpc":"2.0","id":@id.0,"result":{"content":[]}}"#,
    r#"{"result":{"content":[]},"jsonrpc":"2.0","id":@id"#,
    r#"{"result":{"content":[{"type":"text","text":"\ud800"}]},"jsonrpc":"2.0","id":@id}"#,
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}"#,
    r#"{"jsonrpc":"2.0","id":18446744073709551615,"result":{"content":[]}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":@id,"method":"sampling/createMessage","params":{}}"#,
    r#"{"jsonrpc":"2.0","id":"a","method":"roots/list"}"#,
    r#"{"jsonrpc":"2.0","id":1.5,"method":"elicitation/create","params":@deep}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":@id}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
    r#"{@progress,"progress":-1e308,"total":1e308}}"#,
    r#"{@progress,"progress":1e308,"total":0.1}}"#,
    r#"{@progress,"progress":0.5,"message":"m"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"x","data":@deep}}"#,
    r#"[{"jsonrpc":"2.0","id":@id,"result":{"content":[]}}]"#,
    "{",
    "@deep",
    "",
    "Starting the server",
];

const INSERTED: [&[u8]; 10] = [
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"\"id\":1,",
];

thread_local! {
    /// The panics of tasks, which the runtime of a case catches.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// What the server does on a request.
#[derive(Debug, Clone)]
struct Reaction {
    lines: Vec<&'static str>,
    edits: Vec<(Index, &'static [u8])>,
    cut: Option<Index>,
    wait: u64,
}

fn reactions() -> impl Strategy<Value = (bool, Vec<Reaction>)> {
    let edits = prop_oneof![
        2 => Just(Vec::new()),
        1 => vec((any::<Index>(), select(&INSERTED[..])), 1..3),
    ];
    let cut = proptest::option::weighted(0.1, any::<Index>());
    let reaction = (vec(select(&WRITTEN[..]), 0..4), edits, cut, 0_u64..500).prop_map(
        |(lines, edits, cut, wait)| Reaction {
            lines,
            edits,
            cut,
            wait,
        },
    );
    (proptest::bool::weighted(0.8), vec(reaction, 0..10))
}

impl Reaction {
    fn written(&self, request: &Value) -> Vec<u8> {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let token = &request["params"]["_meta"]["progressToken"];
        let mut written = Vec::new();
        for line in &self.lines {
            let line = line.replace("@id", &request["id"].to_string());
            let line = line.replace("@progress", PROGRESS);
            let line = line.replace("@token", &token.to_string());
            written.extend(line.replace("@deep", &deep).into_bytes());
            written.push(b'\n');
        }
        for (at, bytes) in &self.edits {
            let at = at.index(written.len() + 1);
            drop(written.splice(at..at, bytes.iter().copied()));
        }
        if let Some(at) = self.cut {
            written.truncate(at.index(written.len() + 1));
        }
        written
    }
}

/// Reads requests, and writes what the reactions have. Then it closes its pipes.
async fn server(pipe: DuplexStream, begins: bool, reactions: Vec<Reaction>) {
    let (reader, mut writer) = tokio::io::split(pipe);
    let mut lines = BufReader::new(reader).lines();
    let mut reactions = reactions.into_iter();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: Value = serde_json::from_str(&line).expect("a client writes JSON");
        let method = request["method"].as_str().unwrap_or_default();
        let id = &request["id"];
        let written = match method {
            "server/discover" if begins => {
                let error = json!({ "code": -32601, "message": "unknown" });
                format!(
                    "{}\n",
                    json!({ "jsonrpc": "2.0", "id": id, "error": error })
                )
                .into_bytes()
            }
            "initialize" if begins => {
                let result = json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": { "listChanged": true } },
                    "serverInfo": { "name": "hostile", "version": "1" },
                });
                let response = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                format!("{response}\n").into_bytes()
            }
            "" | "notifications/initialized" => continue,
            _ => match reactions.next() {
                Some(reaction) => {
                    sleep(Duration::from_millis(reaction.wait)).await;
                    reaction.written(&request)
                }
                None => return,
            },
        };
        if writer.write_all(&written).await.is_err() {
            return;
        }
    }
}

pub(super) async fn connect(pipe: DuplexStream) -> Option<Connection> {
    let (tap, lost) = (Tap::default(), Lost::default());
    let (output, input) = tokio::io::split(pipe);
    let transport = StdioTransport::new("hostile".into(), output, input, &tap, &lost);
    let transport = Tapped::new(transport, tap.clone(), lost.clone());
    let (ended, set) = (tap.ended.clone(), lost.clone());
    // As the task that owns the program of a connection.
    tokio::spawn(async move {
        ended.cancelled().await;
        set.set(RemoteError::Disconnected {
            server: "hostile".into(),
            message: "it has ended".into(),
        });
    });
    let service = timeout(LONG, serve(transport, lifecycle(false)))
        .await
        .ok()?
        .ok()?;
    Some(Connection {
        server: "hostile".into(),
        peer: service.peer().clone(),
        tap,
        lost,
        finished: CancellationToken::new(),
        since: Instant::now(),
        is_http: false,
        runtime: Handle::current(),
        _service: service,
    })
}

async fn outcomes(connection: Arc<Connection>) -> Result<(), TestCaseError> {
    let calls = (0..4).map(|number| {
        let connection = Arc::clone(&connection);
        tokio::spawn(async move {
            sleep(Duration::from_millis(number * 100)).await;
            if number == 0 {
                return drop(connection.page(None).await);
            }
            let call = ToolCall::new("a", json!({}));
            let mut call = Call {
                context: call.context().clone(),
                tool: "a".into(),
                arguments: None,
                idle_timeout: (number == 1).then_some(Duration::from_secs(5)),
            };
            drop(call.run(&connection).await);
        })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let outcome = timeout(LONG, call).await;
        let outcome =
            outcome.map_err(|error| TestCaseError::fail(format!("no outcome: {error}")))?;
        outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
    prop_assert_eq!(connection.in_flight(), 0);
    Ok(())
}

#[test]
fn each_call_to_a_server_that_writes_anything_gets_an_outcome() {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("FUZZ_SECONDS is a number"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    static COUNTS: Once = Once::new();
    COUNTS.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            print(info);
        }));
    });
    let (mut run, mut connected) = (0, Cell::new(0_u64));
    let mut config = Config::with_cases(200);
    config.failure_persistence = None;
    while end.map_or(run < 2, |end| Instant::now() < end) {
        let result = TestRunner::new(config.clone()).run(&reactions(), |(begins, reactions)| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let (ours, theirs) = tokio::io::duplex(1 << 12);
                // A call without a limit ends with its connection.
                let server = timeout(LONG / 2, server(theirs, begins, reactions));
                let server = tokio::spawn(async move { drop(server.await) });
                if let Some(connection) = connect(ours).await {
                    connected.set(connected.get() + 1);
                    outcomes(Arc::new(connection)).await?;
                }
                let server = timeout(LONG, server).await;
                prop_assert!(
                    server.is_ok_and(|server| server.is_ok()),
                    "the connection is open"
                );
                let metrics = Handle::current().metrics();
                let ended = timeout(LONG, async {
                    while metrics.num_alive_tasks() > 0 {
                        sleep(Duration::from_millis(100)).await;
                    }
                });
                prop_assert!(ended.await.is_ok(), "{} tasks", metrics.num_alive_tasks());
                prop_assert_eq!(PANICS.get(), 0, "a task panicked");
                Ok(())
            })
        });
        if let Err(error) = result {
            panic!("{error}");
        }
        run += 1;
    }
    println!(
        "hostile server: {} cases, {} connected",
        run * 200,
        connected.get_mut()
    );
    assert!(*connected.get_mut() > 0);
}
