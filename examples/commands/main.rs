//! Programs as tools: arguments that stay arguments, a failure with its reason, and a job that is cut, with what it had said by then.
//!
//! ```text
//! cargo run --example commands
//! ```
//!
//! It takes about a second, and needs the programs of any unix: `sh`, `wc`, `ls`, `sleep`.

#![expect(clippy::print_stdout, reason = "it shows what becomes of the calls")]

use std::time::Duration;

use serde_json::json;
use toolbooth::{
    BoxError, CleanupLayer, CommandTool, ErrorKind, PartialResultLayer, TimeoutLayer, ToolCall,
};
use tower::{ServiceBuilder, ServiceExt};

/// It starts a process of its own, and would run for a minute.
const JOB: &str = r#"
    sleep 60 &
    for step in fetch unpack build; do echo "$step: $1"; done
    sleep 60
"#;

// Not on a paused clock: processes know nothing of it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // The input is filled from the call. No shell is involved, so nothing in it means anything.
    let words = CommandTool::new("words", "wc")
        .with_arg("-w")?
        .with_stdin("{text}")?;
    let text = json!({ "text": "$(whoami); rm -rf *" });
    let answer = words
        .oneshot(ToolCall::new("words", text))
        .await?
        .collect()
        .await?;
    println!("words: {}", answer.text().trim());
    assert_eq!(answer.text().trim(), "4");

    // A program that fails gives an answer that says so, for a model to read.
    let list = CommandTool::new("list", "ls").with_args(["-l", "--", "{folder}"])?;
    let missing = json!({ "folder": "no such folder" });
    let answer = list
        .clone()
        .oneshot(ToolCall::new("list", missing))
        .await?
        .collect()
        .await?;
    println!("list: {}", answer.text());
    assert!(answer.is_error() && answer.text().contains("no such folder"));

    // What is missing is named, and nothing is started.
    let error = list.oneshot(ToolCall::new("list", json!({}))).await.err();
    let error = error.ok_or("`folder` is missing")?;
    println!("list: {error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);

    // A shell where one is wanted: what is filled in is its script's `$1`, and no part of the script.
    let job = CommandTool::new("job", "sh")
        .with_inherited_env(["PATH"])
        .with_args(["-c", JOB, "job", "{version}"])?;
    let cleanup = CleanupLayer::new();
    let job = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(800)))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(job);

    let version = json!({ "version": "1.0; exit" });
    let error = job.oneshot(ToolCall::new("job", version)).await.err();
    let error = error.ok_or("it would run for a minute")?;
    println!("job: {error}; it had said");
    let partial = error.partial().ok_or("it had said three lines")?;
    let said: Vec<_> = partial
        .contents()
        .iter()
        .filter_map(|line| line.as_text())
        .collect();
    println!("  {}", said.join("\n  "));
    assert_eq!(
        said,
        ["fetch: 1.0; exit", "unpack: 1.0; exit", "build: 1.0; exit"]
    );

    // The shell and its `sleep` were told to end before the error came; now they have.
    let report = cleanup.drain(Duration::from_secs(5)).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 0, 0));
    Ok(())
}
