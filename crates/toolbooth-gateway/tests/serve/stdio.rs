//! The client that starts the program.

use std::process::Stdio;
use std::time::Duration;

use rmcp::serve_client;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Folder, Program, call, names, text, within};

const FILE: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
[tools.never]
command = ['sleep', '1000']
[tools.nap]
command = ['sh', '-c', 'touch begun; until [ -e done ]; do sleep 0.05; done; echo rested']
[log]
format = 'json'
";

fn start() -> Program {
    let folder = Folder::new();
    let file = folder.write("booth.toml", FILE);
    Program::spawn(folder, |command| {
        command
            .arg("run")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
    })
}

#[tokio::test]
async fn client_lists_and_calls_tools_and_its_end_ends_the_program() {
    let mut program = start();
    let input = program.child().stdin.take().expect("a pipe");
    let output = program.child().stdout.take().expect("a pipe");
    let client = within(serve_client((), (output, input)))
        .await
        .expect("it is served");
    assert_eq!(names(&client).await, ["greet", "nap", "never"]);
    let greeted = call(&client, "greet", json!({ "name": "Ada" }))
        .await
        .expect("a result");
    assert_eq!(text(&greeted), "hello Ada\n");
    within(client.cancel()).await.expect("closed");
    assert_eq!(program.exit().await.code(), Some(0));
    program.logged("the calls have ended").await;
}

#[tokio::test]
async fn client_receives_the_result_of_a_call_that_runs_at_the_end() {
    let mut program = start();
    let input = program.child().stdin.take().expect("a pipe");
    let output = program.child().stdout.take().expect("a pipe");
    let client = within(serve_client((), (output, input)))
        .await
        .expect("it is served");
    let running = tokio::spawn(async move { call(&client, "nap", json!({})).await });
    within(async {
        while !program.folder.path("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    program.signal(Signal::TERM);
    program.logged("new calls are rejected").await;
    program.folder.write("done", "");
    let rested = within(running).await.expect("no panic").expect("a result");
    assert_eq!(text(&rested), "rested\n");
    assert_eq!(program.exit().await.code(), Some(0));
}

/// The client is killed, or never was one.
#[tokio::test]
async fn end_of_the_input_ends_the_program() {
    let mut program = start();
    drop(program.child().stdin.take());
    assert_eq!(program.exit().await.code(), Some(0));
}
