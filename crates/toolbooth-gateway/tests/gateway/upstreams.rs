//! A booth whose servers are away, mute, or replaced.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;
use toolbooth::{ErrorKind, ToolCall, ToolError};
use toolbooth_gateway::booth::{Booth, UpstreamState};
use toolbooth_gateway::config::Config;
use toolbooth_mcp::RemoteError;
use tower::ServiceExt;

use crate::program::Folder;

/// The longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes a booth whose tool `word` returns a text, and whose tool `wait` does so once there is a
/// file `done`.
fn write_inner(folder: &Path, name: &str, word: &str) {
    let text = format!(
        "[tools.word]\ncommand = ['echo', '{word}']\n\
         [tools.wait]\ncommand = ['sh', '-c', 'touch waits; until [ -e done ]; do sleep 0.02; \
         done; echo {word}']\n"
    );
    std::fs::write(folder.join(name), text).expect("a file for the test");
}

/// Returns the settings of a server that is a booth, started by a script in the folder.
fn config(folder: &Path, script: &str) -> Config {
    let toolbooth = env!("CARGO_BIN_EXE_toolbooth");
    let folder = folder.display();
    let script = script.replace("TOOLBOOTH", toolbooth);
    Config::from_toml(&format!(
        "[upstreams.inner]\ncommand = ['sh', '-c', '{script}']\ncurrent_dir = '{folder}'\n\
         prefix = 'inner_'\n[tools.here]\ncommand = ['echo', 'here']\n"
    ))
    .expect("the file is correct")
}

async fn call(booth: &Booth, tool: &str) -> Result<String, ToolError> {
    let output = booth.toolbox().oneshot(ToolCall::new(tool, json!({})));
    Ok(output.await?.collect().await?.text())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = tokio::time::timeout(LIMIT, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(reached.await.is_ok(), "never: {what}");
}

/// Asserts that a call was rejected because the server is away, with the time to retry.
fn assert_away(error: &ToolError, why: &str) {
    assert_eq!(error.kind(), ErrorKind::CircuitOpen, "{error}");
    assert!(error.is_retryable() && !error.started(), "{error}");
    let after = error.retry_after().expect("the next attempt");
    assert!(after <= Duration::from_secs(30), "{after:?}");
    let message = error.public_message();
    let starts = message.starts_with("the server `inner` has been away for ");
    assert!(starts && message.contains(why), "{message}");
    assert!(RemoteError::find(error).is_some(), "{error:?}");
}

#[tokio::test]
async fn tools_of_a_server_that_is_away_are_listed_and_their_error_has_the_reason_and_the_time_to_retry()
 {
    let folder = Folder::new();
    write_inner(folder.path(), "inner.toml", "hello");
    std::fs::write(folder.path().join("down"), "").expect("a file for the test");
    let script = "if [ -e down ]; then exit 3; fi; echo $$ > pid; exec TOOLBOOTH run inner.toml";
    let booth = Booth::open(config(folder.path(), script)).await.unwrap();

    // It was never connected: only its prefix is known.
    let error = call(&booth, "inner_word").await.expect_err("it is away");
    assert_away(&error, "(its program ended), try again in ");
    let error = call(&booth, "outer_word").await.expect_err("no such tool");
    assert_eq!(error.kind(), ErrorKind::UnknownTool);

    std::fs::remove_file(folder.path().join("down")).expect("removed");
    let toolbox = booth.toolbox();
    until("the server is back", || toolbox.contains("inner_word")).await;
    assert_eq!(call(&booth, "inner_word").await.unwrap(), "hello\n");
    let error = call(&booth, "inner_other").await.expect_err("no such tool");
    assert_eq!(error.kind(), ErrorKind::UnknownTool);

    // It ends, and cannot be started again.
    std::fs::write(folder.path().join("down"), "").expect("a file for the test");
    let pid = std::fs::read_to_string(folder.path().join("pid")).expect("it has started");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a number"), Signal::KILL).expect("it runs");
    let is_down = || booth.status().upstreams[0].state == UpstreamState::Down;
    until("the loss is noticed", is_down).await;
    let listed = ["here", "inner_wait", "inner_word"];
    assert_eq!(toolbox.names(), listed);
    for tool in ["inner_word", "inner_other"] {
        let error = call(&booth, tool).await.expect_err("it is away");
        assert_away(&error, "(its program ended), try again in ");
    }
    assert_eq!(toolbox.names(), listed);
    assert_eq!(call(&booth, "here").await.unwrap(), "here\n");
}

#[tokio::test(start_paused = true)]
async fn mute_server_delays_the_tools_of_others_for_the_limit_and_no_longer() {
    let folder = Folder::new();
    let start = Instant::now();
    let config = config(folder.path(), "exec sleep 1000");
    let booth = Booth::builder(config).start().unwrap();
    booth.first_tools(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(booth.toolbox().names(), ["here"]);
    assert_eq!(booth.status().upstreams[0].state, UpstreamState::Connecting);
    let error = booth.toolbox().resolve("inner_word").expect_err("not yet");
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    assert_eq!(
        error.public_message(),
        "the server `inner` is being connected, try again in 1s"
    );
}

#[tokio::test(start_paused = true)]
async fn mute_server_without_any_other_tool_is_waited_for_until_its_first_attempt_has_failed() {
    let file = "[upstreams.mute]\ncommand = ['sleep', '1000']\nconnect_timeout = '20s'\n";
    let start = Instant::now();
    let booth = Booth::builder(Config::from_toml(file).unwrap()).start();
    booth.unwrap().first_tools(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_server_is_replaced_without_a_gap_and_calls_in_flight_end_at_the_old_one() {
    let folder = Folder::new();
    write_inner(folder.path(), "old.toml", "old");
    write_inner(folder.path(), "new.toml", "new");
    let settings = |file: &str| config(folder.path(), &format!("exec TOOLBOOTH run {file}"));
    let booth = Booth::open(settings("old.toml")).await.unwrap();
    assert_eq!(call(&booth, "inner_word").await.unwrap(), "old\n");
    let in_flight = {
        let booth = booth.clone();
        tokio::spawn(async move { call(&booth, "inner_wait").await })
    };
    until("the call has started", || {
        folder.path().join("waits").exists()
    })
    .await;

    // Looks at the list all the time, until the call in flight has ended.
    let toolbox = booth.toolbox();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let mut gaps = 0_u64;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            gaps += u64::from(toolbox.names() != ["here", "inner_wait", "inner_word"]);
        }
        gaps
    });
    let change = booth.apply(settings("new.toml")).unwrap();
    assert_eq!(change.to_string(), "server inner: changed");
    booth.first_attempts().await;
    assert_eq!(call(&booth, "inner_word").await.unwrap(), "new\n");
    std::fs::write(folder.path().join("done"), "").expect("a file for the test");
    assert_eq!(in_flight.await.expect("no panic").unwrap(), "old\n");
    drop(stop);
    assert_eq!(
        watch.join().expect("no panic"),
        0,
        "a list without the tools"
    );
    assert!(booth.close(LIMIT).await);
}
