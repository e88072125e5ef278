//! Programs as tools: safe arguments, a failure with its reason, and the partial output of a job
//! that timed out.
//!
//! ```text
//! cargo run --example commands
//! ```
//!
//! It takes about a second, and needs the usual programs of unix: `sh`, `wc`, `ls`, `grep`,
//! `sleep`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use serde_json::json;
use toolbooth::{
    BoxError, CleanupLayer, CommandTool, ErrorKind, PartialResultLayer, TimeoutLayer, ToolCall,
};
use tower::{ServiceBuilder, ServiceExt};

/// A script that starts another process, and would run for a minute.
const JOB: &str = r#"
    sleep 60 &
    for step in fetch unpack build; do echo "$step: $1"; done
    sleep 60
"#;

// Not on a paused clock, which does not apply to processes.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // The input is filled from the arguments. Without a shell, no character in it is special.
    let words = CommandTool::new("words", "wc")
        .with_arg("-w")?
        .with_stdin("{text}")?;
    let text = json!({ "text": "$(whoami); rm -rf *" });
    let response = words
        .oneshot(ToolCall::new("words", text))
        .await?
        .collect()
        .await?;
    println!("words: {}", response.text().trim());
    assert_eq!(response.text().trim(), "4");

    // If the program fails, the response reports the failure to the model.
    let list = CommandTool::new("list", "ls").with_args(["-l", "--", "{folder}"])?;
    let missing = json!({ "folder": "no such folder" });
    let response = list
        .clone()
        .oneshot(ToolCall::new("list", missing))
        .await?
        .collect()
        .await?;
    println!("list: {}", response.text());
    assert!(response.is_error() && response.text().contains("no such folder"));

    // `grep` exits with 1 if nothing matches, which is a result and not a failure.
    let find = CommandTool::new("find", "grep")
        .with_args(["-n", "-e", "{pattern}"])?
        .with_stdin("{text}")?
        .with_ok_exit_codes([0, 1]);
    let none = json!({ "pattern": "b", "text": "a" });
    let response = find
        .oneshot(ToolCall::new("find", none))
        .await?
        .collect()
        .await?;
    println!("find: {:?}, no failure", response.text());
    assert!(!response.is_error() && response.text().is_empty());

    // The error names a missing argument, and no program is started.
    let error = list.oneshot(ToolCall::new("list", json!({}))).await.err();
    let error = error.ok_or("`folder` is missing")?;
    println!("list: {error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);

    // With a shell, pass the value as an argument of the script (`$1`), not as a part of it.
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
    println!("job: {error}; its output:");
    let partial = error.partial().ok_or("it printed three lines")?;
    let lines: Vec<_> = partial
        .contents()
        .iter()
        .filter_map(|line| line.as_text())
        .collect();
    println!("  {}", lines.join("\n  "));
    assert_eq!(
        lines,
        ["fetch: 1.0; exit", "unpack: 1.0; exit", "build: 1.0; exit"]
    );

    // The shell and its `sleep` received SIGTERM before the error was returned. After `drain` they
    // have ended.
    let report = cleanup.drain(Duration::from_secs(5)).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 0, 0));
    Ok(())
}
