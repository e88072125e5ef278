//! Remote servers as tools: over HTTP in this process, and as programs.
//!
//! The program of a server is this test itself, which then serves on its standard input and output.
//! The lines that the test harness prints there are not JSON-RPC, and are ignored.
#![cfg(target_os = "linux")]

mod calls;
mod ends;
mod hostile;
mod limits;
mod lists;
mod relay;
mod script;
mod upstream;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};
use toolbooth::{Collected, TimeoutLayer, ToolCall, ToolError};
use toolbooth_mcp::remote::RemoteServerBuilder;
use toolbooth_mcp::{RemoteError, RemoteServer, RemoteTool};
use tower::{ServiceBuilder, ServiceExt as _};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

/// Selects what this test is as a program.
const SERVER: &str = "TOOLBOOTH_TEST_SERVER";

/// Marks the processes of one test.
const MARK: &str = "TOOLBOOTH_MARK";

/// A server that is this test as a program.
fn program(kind: &str) -> RemoteServerBuilder {
    let this = std::env::current_exe().expect("the path of this test");
    RemoteServer::stdio(this)
        .with_args(["--exact", "is_a_server_if_asked", "--nocapture"])
        .with_env(SERVER, kind)
        .with_name("program")
}

#[test]
fn is_a_server_if_asked() {
    let Ok(kind) = std::env::var(SERVER) else {
        return;
    };
    match kind.as_str() {
        "new" => upstream::serve_stdio(upstream::Upstream::default()),
        "old" => upstream::serve_stdio(upstream::Upstream::old()),
        script => script::run(script),
    }
}

fn tool(server: &RemoteServer, name: &str) -> RemoteTool {
    let mut tools = server.tools().into_iter();
    let found = tools.find(|(spec, _)| spec.name() == name);
    found.expect("a tool of this name").1
}

async fn call(server: &RemoteServer, name: &str, args: Value) -> Result<Collected, ToolError> {
    // A layer, to which a call that was not made counts as not started.
    let layer = TimeoutLayer::unlimited();
    let tool = ServiceBuilder::new()
        .layer(layer)
        .service(tool(server, name));
    let made = tool.oneshot(ToolCall::new(name, args));
    let made = timeout(LONG, made).await.expect("a result in time")?;
    made.collect().await
}

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = timeout(LONG, async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(reached.await.is_ok(), "never: {what}");
}

/// The number of live processes that have this mark in their environment.
fn alive(mark: &str) -> usize {
    let mark = format!("{MARK}={mark}");
    let processes = std::fs::read_dir("/proc").expect("a list of processes");
    let is_ours = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        // A process that has ended meanwhile, and a zombie, have none.
        let variables = std::fs::read(path.join("environ")).unwrap_or_default();
        variables
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    processes
        .filter(|_| true)
        .map(is_ours)
        .filter(|is_ours| *is_ours)
        .count()
}

fn remote(error: &ToolError) -> &RemoteError {
    RemoteError::find(error).expect("the error of a server")
}
