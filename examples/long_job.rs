//! A job that takes longer than any one try may: what is it allowed, how is it seen to be alive, and where does it go on after it was cut?
//!
//! ```text
//! cargo run --example long_job
//! ```
//!
//! 100 documents are indexed: 20 pages each, of 10 ms; one is a book of 400 pages, and at two of them the reader hangs once. An attempt may
//! take 12.1 s, and be silent for 1 s. The job is done without checkpoints, with them, and by a caller who has no retry.
//!
//! The clock is tokio's paused one, which moves on when every task waits: so it takes no time, and every number is
//! the same on any machine. It exits with 1 if one is not as explained.

#![expect(clippy::print_stdout, reason = "the story is what it is for")]

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
/// This one takes longer than a call may be silent.
const BOOK: u64 = 70;
const PAGES_OF_THE_BOOK: u64 = 400;
/// At these the reader hangs, when it comes to them for the first time.
const HANGS: [u64; 2] = [12, 85];

/// What an attempt may take, and how long it may be silent.
const ATTEMPT: Duration = Duration::from_millis(12_100);
const SILENCE: Duration = Duration::from_secs(1);

/// What was done in truth. Clones share it.
#[derive(Debug, Clone, Default)]
struct Index(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    attempts: usize,
    /// Every document that was read to its end, each time that it was.
    read: Vec<u64>,
    hung: BTreeSet<u64>,
}

/// How a job went.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    ended: &'static str,
    attempts: usize,
    indexed: usize,
    read_again: usize,
    took: Duration,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut told = |job: Job, explained: Job, why: &str| {
        println!("  {job}\n{why}\n");
        if job != explained {
            eprintln!("not as explained: {explained}");
            code = ExitCode::FAILURE;
        }
    };

    println!("Without checkpoints, four attempts:");
    told(
        with_retry(false).await,
        Job::new("timeout", 60, 132, 39_700),
        "The first attempt hangs at document 12, and is cut after a second of silence. Each of the others begins anew,\n\
         and has read 60 documents when its 12.1 seconds are over: however many there were, the job would not be done.",
    );
    println!("With a checkpoint after each document:");
    told(
        with_retry(true).await,
        Job::new("answered", 100, 0, 26_300),
        "Each attempt goes on where the one before was cut, and no document is read twice. The book of 4 seconds is not\n\
         taken for a reader that hangs: the heartbeat after each page says that it is alive.",
    );
    println!("Without a retry, by a caller who makes one call after the other:");
    told(
        by_its_caller().await,
        Job::new("answered", 100, 0, 26_300),
        "The context of a call gives its last checkpoint back, also after the call, and takes one before the next call.",
    );
    code
}

/// Indexes the documents, from the checkpoint on.
fn tool(index: &Index, checkpoints: bool) -> impl Tool {
    let index = index.clone();
    tool_fn("index", move |call: CallContext, _: ()| {
        let index = index.clone();
        async move {
            index.lock().attempts += 1;
            let first = match call.last_checkpoint() {
                Some(Content::Json(left)) => left["next"].as_u64().unwrap_or(0),
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

/// One call of up to four attempts.
async fn with_retry(checkpoints: bool) -> Job {
    let (index, start) = (Index::default(), Instant::now());
    let policy = RetryPolicy::new(4).with_backoff(Duration::ZERO, Duration::ZERO);
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(120))) // for the job as a whole
        .layer(RetryLayer::new(policy))
        .layer(TimeoutLayer::new(ATTEMPT).with_idle(SILENCE)) // for each attempt
        .service(tool(&index, checkpoints));

    let call = ToolCall::new("index", json!(null));
    let seen = tokio::spawn(watch(call.context().clone()));
    let error = tool.oneshot(call).await.err();
    seen.abort();
    index.job(error.as_ref(), start)
}

/// Calls until it is answered, each time with what the call before left.
async fn by_its_caller() -> Job {
    let (index, start) = (Index::default(), Instant::now());
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ATTEMPT).with_idle(SILENCE))
        .service(tool(&index, true));

    let mut left = None;
    loop {
        let call = ToolCall::new("index", json!(null));
        let context = call.context().clone();
        if let Some(left) = left {
            context.checkpoint(left);
        }
        match tool.clone().oneshot(call).await {
            Err(error) if error.is_retryable() => left = context.last_checkpoint(),
            answer => return index.job(answer.err().as_ref(), start),
        }
    }
}

/// What somebody else sees of the call while it runs.
async fn watch(call: CallContext) {
    loop {
        sleep(Duration::from_millis(9_999)).await;
        if let Some(progress) = call.last_progress() {
            let (done, elapsed) = (progress.done(), call.elapsed().as_secs_f32());
            println!("  {elapsed:.1} s: {done} of {DOCUMENTS}");
        }
    }
}

/// A tool's service, for short.
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
            ended: error.map_or("answered", |error| error.kind().as_str()),
            attempts: entries.attempts,
            indexed,
            read_again: entries.read.len() - indexed,
            took: start.elapsed(),
        }
    }
}

// === impl Job ===

impl Job {
    /// As it is explained: each way takes four attempts.
    const fn new(ended: &'static str, indexed: usize, read_again: usize, millis: u64) -> Self {
        Self {
            ended,
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
            ended,
            attempts,
            indexed,
            read_again,
            took,
        } = self;
        write!(
            f,
            "{ended} after {took:?} and {attempts} attempts: {indexed} documents indexed, {read_again} times one was read again"
        )
    }
}
