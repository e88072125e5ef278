//! Programs as tools, with real processes on the real clock.
//!
//! The end of a call ends every process that its program has started. A test finds its processes by
//! a variable in their environment, which child processes inherit. A zombie has none.
#![cfg(target_os = "linux")]

mod ends;
mod held;
mod input;
mod limits;
mod output;
mod reading;
mod session;
mod soak;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};
use toolbooth::{
    BoxError, CleanupLayer, Collected, CommandError, CommandTool, PartialResultLayer, TimeoutLayer,
    ToolCall, ToolError, ToolOutput,
};
use tower::{Service, ServiceBuilder, ServiceExt};

/// Longer than any test, and shorter than the programs would run.
const LONG: Duration = Duration::from_secs(30);

/// The processes of one test.
struct Marked(String);

impl Marked {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{count}", std::process::id()))
    }

    /// A shell that runs a script with these arguments.
    fn sh(&self, script: &str, args: &[&str]) -> CommandTool {
        self.mark(CommandTool::new("sh", "sh"))
            .with_inherited_env(["PATH"])
            .with_args(["-c", &doubled(script), "sh"])
            .expect("braces are doubled")
            .with_args(args)
            .expect("valid templates")
    }

    fn mark(&self, tool: CommandTool) -> CommandTool {
        tool.with_env("TOOLBOOTH_MARK", &self.0)
    }

    /// How many of them are alive.
    fn alive(&self) -> usize {
        self.processes().count()
    }

    /// The folders in `/proc` of those that are alive.
    fn processes(&self) -> impl Iterator<Item = PathBuf> {
        let mark = format!("TOOLBOOTH_MARK={}", self.0);
        let is_ours = move |process: &PathBuf| {
            // A process that has ended meanwhile is not alive.
            let variables = std::fs::read(process.join("environ")).unwrap_or_default();
            variables
                .split(|&byte| byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        let processes = std::fs::read_dir("/proc").expect("a list of processes");
        processes
            .map(|process| process.expect("an entry of it").path())
            .filter(is_ours)
    }

    /// Waits until one of them runs `program`. Before, it may still be a helper that sets limits.
    async fn eventually_runs(&self, program: &str) {
        let runs = |process: PathBuf| {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            name.trim_end() == program
        };
        let reached = timeout(LONG, async {
            while !self.processes().any(runs) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(reached.await.is_ok(), "none runs {program}");
    }

    /// Waits until `count` of them are alive.
    async fn eventually(&self, count: usize) {
        let reached = timeout(LONG, async {
            while self.alive() != count {
                sleep(Duration::from_millis(5)).await;
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "{} are alive, not {count}", self.alive());
    }
}

/// A folder that is removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("toolbooth-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder.canonicalize().expect("it exists"))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It stays if the system does not remove it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn doubled(script: &str) -> String {
    script.replace('{', "{{").replace('}', "}}")
}

fn call(args: Value) -> ToolCall {
    ToolCall::new("sh", args)
}

async fn respond(tool: CommandTool, args: Value) -> Result<Collected, ToolError> {
    let response = async { tool.oneshot(call(args)).await?.collect().await };
    timeout(LONG, response).await.expect("a response in time")
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

/// Returns the error of the program.
fn command_error(error: &ToolError) -> &CommandError {
    let source = std::error::Error::source(error).expect("a failure of the tool has a source");
    source.downcast_ref().expect("an error of the program")
}

type Result_ = Result<(), BoxError>;
