//! A job that takes longer than one attempt may: idle limit, heartbeats, and checkpoints from which
//! the next attempt resumes.
//!
//! ```text
//! cargo run --example long_job
//! ```
//!
//! The job indexes 100 documents of 20 pages each, at 10 ms a page. One document is a book of 400
//! pages, and at two documents the reader hangs once. An attempt has a limit of 12.1 s, and an idle
//! limit of 1 s. The job runs without checkpoints, with them, and without a retry layer.
//!
//! tokio's clock is paused, and advances when every task waits. So the run takes no time, and its
//! numbers are the same on every machine. It exits with 1 if a number is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeSet;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, Content, RetryPolicy, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

const DOCUMENTS: u64 = 100;
const PAGES: u64 = 20;
const PAGE_TAKES: Duration = Duration::from_millis(10);
/// Takes longer than the idle limit.
const BOOK: u64 = 70;
const PAGES_OF_THE_BOOK: u64 = 400;
/// The reader hangs at the first read of these documents.
const HANGS: [u64; 2] = [12, 85];

/// The limit and the idle limit of an attempt.
const ATTEMPT: Duration = Duration::from_millis(12_100);
const IDLE: Duration = Duration::from_secs(1);

/// The documents that were read. Clones share it.
#[derive(Debug, Clone, Default)]
struct Index(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    attempts: usize,
    /// Each complete read of a document, in order.
    read: Vec<u64>,
    hung: BTreeSet<u64>,
}

/// The result of a job.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    result: &'static str,
    attempts: usize,
    indexed: usize,
    read_again: usize,
    took: Duration,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut report = |job: Job, expected: Job, why: &str| {
        println!("  {job}\n{why}\n");
        if job != expected {
            eprintln!("expected: {expected}");
            code = ExitCode::FAILURE;
        }
    };

    println!("Without checkpoints, four attempts:");
    report(
        with_retry(false).await,
        Job::new("timeout", 60, 132, 39_700),
        "The first attempt hangs at document 12, and times out after an idle second.\n\
         Each later attempt restarts, and has read 60 documents when its 12.1 s expire.\n\
         No number of attempts completes the job.",
    );
    println!("With a checkpoint after each document:");
    report(
        with_retry(true).await,
        Job::new("completed", 100, 0, 26_300),
        "Each attempt resumes at the last checkpoint, and no document is read twice.\n\
         The book takes 4 s without an idle timeout, because each page is a heartbeat.",
    );
    println!("Without a retry layer, with one call after the other:");
    report(
        with_separate_calls().await,
        Job::new("completed", 100, 0, 26_300),
        "After a call, its caller reads the last checkpoint from the context,\n\
         and sets it in the context of the next call.",
    );
    code
}

/// Makes the tool: it indexes the documents, from the last checkpoint on.
fn tool(index: &Index, checkpoints: bool) -> impl Tool {
    let index = index.clone();
    tool_fn("index", move |call: CallContext, _: ()| {
        let index = index.clone();
        async move {
            index.lock().attempts += 1;
            let first = match call.last_checkpoint() {
                Some(Content::Json(checkpoint)) => checkpoint["next"].as_u64().unwrap_or(0),
                _ => 0,
            };
            for document in first..DOCUMENTS {
                index.read(&call, document).await;
                call.progress(document + 1, DOCUMENTS, "documents");
                if checkpoints {
                    call.checkpoint(json!({ "next": document + 1 }));
                }
            }
            Ok::<_, BoxError>(format!("{DOCUMENTS} documents"))
        }
    })
}

/// Makes one call of up to four attempts.
async fn with_retry(checkpoints: bool) -> Job {
    let (index, start) = (Index::default(), Instant::now());
    let policy = RetryPolicy::new(4)
        .with_idempotent(true) // an attempt that expires may be repeated
        .with_backoff(Duration::ZERO, Duration::ZERO);
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(120))) // of the whole job
        .layer(RetryLayer::new(policy))
        .layer(TimeoutLayer::new(ATTEMPT).with_idle(IDLE)) // of each attempt
        .service(tool(&index, checkpoints));

    let call = ToolCall::new("index", json!(null));
    let watcher = tokio::spawn(watch(call.context().clone()));
    let error = tool.oneshot(call).await.err();
    watcher.abort();
    index.job(error.as_ref(), start)
}

/// Makes calls until one completes, each with the checkpoint of the call before.
async fn with_separate_calls() -> Job {
    let (index, start) = (Index::default(), Instant::now());
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ATTEMPT).with_idle(IDLE))
        .service(tool(&index, true));

    let mut checkpoint = None;
    loop {
        let call = ToolCall::new("index", json!(null));
        let context = call.context().clone();
        if let Some(content) = checkpoint {
            context.checkpoint(content);
        }
        match tool.clone().oneshot(call).await {
            Err(error) if error.is_retryable() => checkpoint = context.last_checkpoint(),
            result => return index.job(result.err().as_ref(), start),
        }
    }
}

/// Prints the progress of a running call, read from its context.
async fn watch(call: CallContext) {
    loop {
        sleep(Duration::from_millis(9_999)).await;
        if let Some(progress) = call.last_progress() {
            let (done, elapsed) = (progress.done(), call.elapsed().as_secs_f32());
            println!("  {elapsed:.1} s: {done} of {DOCUMENTS}");
        }
    }
}

/// Shorthand for the service of a tool.
trait Tool: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {}

impl<S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone> Tool for S {}

// === impl Index ===

impl Index {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, call: &CallContext, document: u64) {
        if HANGS.contains(&document) && self.lock().hung.insert(document) {
            std::future::pending::<()>().await;
        }
        let pages = match document {
            BOOK => PAGES_OF_THE_BOOK,
            _ => PAGES,
        };
        for _ in 0..pages {
            sleep(PAGE_TAKES).await;
            call.heartbeat();
        }
        self.lock().read.push(document);
    }

    fn job(&self, error: Option<&ToolError>, start: Instant) -> Job {
        let entries = self.lock();
        let indexed = BTreeSet::from_iter(&entries.read).len();
        Job {
            result: error.map_or("completed", |error| error.kind().as_str()),
            attempts: entries.attempts,
            indexed,
            read_again: entries.read.len() - indexed,
            took: start.elapsed(),
        }
    }
}

// === impl Job ===

impl Job {
    /// Makes an expected result: each variant takes four attempts.
    const fn new(result: &'static str, indexed: usize, read_again: usize, millis: u64) -> Self {
        Self {
            result,
            attempts: 4,
            indexed,
            read_again,
            took: Duration::from_millis(millis),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            result,
            attempts,
            indexed,
            read_again,
            took,
        } = self;
        write!(
            f,
            "{result} after {took:?} and {attempts} attempts: \
             {indexed} documents indexed, {read_again} repeated reads"
        )
    }
}
