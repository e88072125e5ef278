//! Programs as tools: real processes on the real clock. Whatever ends a call ends all that its program has started.
//!
//! Processes are found by a variable in their environment, which they hand down to those that they start. A zombie has none.
#![cfg(target_os = "linux")]

mod ends;
mod input;
mod output;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};
use toolbooth::{
    BoxError, CleanupLayer, Collected, CommandError, CommandTool, PartialResultLayer, TimeoutLayer,
    ToolCall, ToolError, ToolOutput,
};
use tower::{Service, ServiceBuilder, ServiceExt};

/// Longer than anything here takes, and shorter than what the programs would.
const LONG: Duration = Duration::from_secs(30);

/// The processes of one test.
struct Marked(String);

impl Marked {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{count}", std::process::id()))
    }

    /// A shell, and its script's arguments.
    fn sh(&self, script: &str, args: &[&str]) -> CommandTool {
        self.mark(CommandTool::new("sh", "sh"))
            .with_inherited_env(["PATH"])
            .with_args(["-c", &doubled(script), "sh"])
            .expect("braces are doubled")
            .with_args(args)
            .expect("templates of the test's own")
    }

    fn mark(&self, tool: CommandTool) -> CommandTool {
        tool.with_env("TOOLBOOTH_MARK", &self.0)
    }

    /// How many of them live.
    fn alive(&self) -> usize {
        let mark = format!("TOOLBOOTH_MARK={}", self.0);
        let is_ours = |process: &Path| {
            // A process that is gone meanwhile does not live.
            let variables = std::fs::read(process.join("environ")).unwrap_or_default();
            variables
                .split(|&byte| byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        let processes = std::fs::read_dir("/proc").expect("a list of processes");
        processes
            .map(|process| process.expect("an entry of it").path())
            .filter(|process| is_ours(process))
            .count()
    }

    /// Waits until so many of them live.
    async fn settle(&self, count: usize) {
        let settled = timeout(LONG, async {
            while self.alive() != count {
                sleep(Duration::from_millis(5)).await;
            }
        });
        let settled = settled.await.is_ok();
        assert!(settled, "{} live, not {count}", self.alive());
    }
}

/// A folder that is removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("toolbooth-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        Self(folder.canonicalize().expect("it is there"))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may stay where the system does not let it go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn doubled(script: &str) -> String {
    script.replace('{', "{{").replace('}', "}}")
}

fn call(args: Value) -> ToolCall {
    ToolCall::new("sh", args)
}

async fn answer(tool: CommandTool, args: Value) -> Result<Collected, ToolError> {
    let answer = async { tool.oneshot(call(args)).await?.collect().await };
    timeout(LONG, answer).await.expect("it comes")
}

fn stack(
    tool: CommandTool,
    limit: Duration,
    cleanup: &CleanupLayer,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(limit))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(tool)
}

/// What the program's error is.
fn command_error(error: &ToolError) -> &CommandError {
    let source = std::error::Error::source(error).expect("a failure of the tool has a source");
    source.downcast_ref().expect("it is the program's")
}

type Result_ = Result<(), BoxError>;
