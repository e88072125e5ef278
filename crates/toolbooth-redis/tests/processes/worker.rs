//! A process that calls through a shared limit: this test program, with its work in an environment
//! variable.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use toolbooth::shared::{SharedOptions, WhenAway};
use toolbooth::{ConcurrencyLimitLayer, Quota, RateLimitLayer, ToolCall, ToolError, tool_fn};
use toolbooth_redis::{LimitStatus, SharedLimits};
use toolbooth_test::{BoxTool, boxed, ms};
use tower::{Layer, ServiceExt};

use crate::witness::Witness;

const VARIABLE: &str = "TOOLBOOTH_TEST_WORK";

/// How much later than its deadline a call may end on a machine that is busy.
const LATE: Duration = Duration::from_millis(500);

/// What a process does. Times are in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) url: String,
    pub(crate) witness: PathBuf,
    pub(crate) limit: Limit,
    pub(crate) when_away: String,
    pub(crate) lease: u64,
    pub(crate) command_timeout: u64,
    /// How many processes it waits for before it calls.
    pub(crate) processes: u64,
    /// How many tasks call, one call after the other. Without any, it waits until the input ends.
    pub(crate) tasks: usize,
    /// How many calls they make together: without a number, until the input ends.
    pub(crate) calls: Option<u64>,
    pub(crate) takes: u64,
    pub(crate) deadline: Option<u64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Limit {
    Permits(usize),
    Rate {
        per_second: u32,
        burst: u32,
        prefetch: u32,
    },
}

/// How the calls of a process ended.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) done: u64,
    /// The kinds of errors, of cancelled calls the reasons, and how often they occurred.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Why the server was away at the end, if it was.
    pub(crate) away: Option<String>,
    /// What the clock of the process shows at the end, in seconds since 1970.
    pub(crate) clock: u64,
}

/// A process that works. Dropping it kills it.
pub(crate) struct Worker(Child);

// === impl Work ===

impl Work {
    /// Calls until it is stopped, one call at a time, with a lease of 1 second.
    pub(crate) fn new(url: &str, witness: &Witness, limit: Limit) -> Self {
        Self {
            url: url.to_owned(),
            witness: witness.socket(),
            limit,
            when_away: WhenAway::Local.to_string(),
            lease: 1_000,
            command_timeout: 50,
            processes: 1,
            tasks: 1,
            calls: None,
            takes: 5,
            deadline: None,
        }
    }

    pub(crate) fn start(&self) -> Worker {
        let program = std::env::current_exe().expect("this program");
        self.start_by(Command::new(program))
    }

    /// Starts the worker by a command that this program is appended to.
    pub(crate) fn start_by(&self, mut command: Command) -> Worker {
        let work = serde_json::to_string(self).expect("JSON");
        let child = command
            .args(["worker::worker", "--exact", "--nocapture"])
            .env(VARIABLE, work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Worker(child.expect("a process"))
    }
}

// === impl Worker ===

impl Worker {
    /// Kills it with signal 9.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.0.kill().expect("a process");
        self.0.wait().expect("its end")
    }

    /// Stops it after the calls that run, and returns how its calls ended.
    pub(crate) fn stop(mut self) -> Ended {
        drop(self.0.stdin.take());
        self.ended()
    }

    /// Waits for its end, and returns how its calls ended.
    pub(crate) fn ended(&mut self) -> Ended {
        let mut ended = None;
        let output = self.0.stdout.take().expect("its output");
        for line in BufReader::new(output).lines() {
            let line = line.expect("text");
            if let Some((_, json)) = line.split_once("worker: ") {
                ended = Some(serde_json::from_str(json).expect("JSON"));
            }
        }
        assert!(self.0.wait().expect("its end").success());
        ended.expect("a process that has worked")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is the process of the other tests. As a test itself, it does nothing.
#[test]
fn worker() {
    let Ok(work) = std::env::var(VARIABLE) else {
        return;
    };
    let work: Work = serde_json::from_str(&work).expect("JSON");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(run(work));
    println!("worker: {}", serde_json::to_string(&ended).expect("JSON"));
}

async fn run(work: Work) -> Ended {
    let when_away = match work.when_away.as_str() {
        "local" => WhenAway::Local,
        "closed" => WhenAway::Closed,
        _ => WhenAway::Open,
    };
    let options = SharedOptions::new()
        .with_when_away(when_away)
        .with_lease(ms(work.lease))
        .with_command_timeout(ms(work.command_timeout));
    let limits = SharedLimits::connect(&work.url, options).await;
    let limits = limits.expect("a valid URL");
    let tool = limited(&work, &limits);
    let stopped = Arc::new(AtomicBool::new(false));
    let at_end = Arc::clone(&stopped);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        at_end.store(true, Ordering::SeqCst);
    });
    while limits.store().processes() < work.processes {
        tokio::time::sleep(ms(1)).await;
    }
    let made = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..work.tasks {
        let (tool, stopped, made) = (tool.clone(), Arc::clone(&stopped), Arc::clone(&made));
        let work = work.clone();
        tasks.spawn(async move {
            let mut ended = Ended::default();
            let is_next = || match work.calls {
                Some(calls) => made.fetch_add(1, Ordering::SeqCst) < calls,
                None => !stopped.load(Ordering::SeqCst),
            };
            while is_next() {
                call(&work, tool.clone(), &mut ended).await;
            }
            ended
        });
    }
    let mut all = Ended::default();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.expect("no panic");
        all.done += ended.done;
        for (kind, calls) in ended.failed {
            *all.failed.entry(kind).or_default() += calls;
        }
    }
    while work.tasks == 0 && !stopped.load(Ordering::SeqCst) {
        tokio::time::sleep(ms(1)).await;
    }
    // The releases are sent without waiting.
    all.away = loop {
        match limits.status("limit").await {
            Ok(status) if has_permits(&limits, &status) => tokio::time::sleep(ms(1)).await,
            Ok(_) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    all.clock = clock.expect("after 1970").as_secs();
    all
}

async fn call(work: &Work, tool: BoxTool, ended: &mut Ended) {
    let started = Instant::now();
    let mut call = ToolCall::new("tool", json!(null));
    let limit = work.deadline.map(ms);
    if let Some(limit) = limit {
        call = call.with_deadline((started + limit).into());
    }
    let outcome = tool.oneshot(call).await;
    if let Some(limit) = limit {
        let took = started.elapsed();
        assert!(took < limit + LATE, "{took:?}: {outcome:?}");
    }
    match outcome {
        Ok(_) => ended.done += 1,
        Err(error) => {
            let kind = match &error {
                ToolError::Cancelled { reason, .. } => reason.to_string(),
                error => error.kind().to_string(),
            };
            *ended.failed.entry(kind).or_default() += 1;
            // A model would not call again at once either.
            tokio::time::sleep(ms(5)).await;
        }
    }
}

fn limited(work: &Work, limits: &SharedLimits) -> BoxTool {
    let (witness, takes) = (work.witness.clone(), ms(work.takes));
    let tool = tool_fn("tool", move |_: ()| {
        let witness = witness.clone();
        async move {
            let mut running = UnixStream::connect(witness).await.expect("the witness");
            running.read_exact(&mut [0]).await.expect("the witness");
            // The end of its input ends the call early.
            let _ = tokio::time::timeout(takes, running.read(&mut [0])).await;
            Ok::<_, Infallible>("done")
        }
    });
    match work.limit {
        Limit::Permits(permits) => {
            let layer = ConcurrencyLimitLayer::new(permits);
            boxed(limits.concurrency("limit", layer).layer(tool))
        }
        Limit::Rate {
            per_second,
            burst,
            prefetch,
        } => {
            let number = |number| NonZeroU32::new(number).expect("1 or more");
            let quota = Quota::per_second(number(per_second)).allow_burst(number(burst));
            let limits = limits.with_prefetch(prefetch);
            boxed(limits.rate("limit", RateLimitLayer::new(quota)).layer(tool))
        }
    }
}

/// Returns whether the server still has a permit of this process.
fn has_permits(limits: &SharedLimits, status: &LimitStatus) -> bool {
    let process = limits.store().process();
    let mut holders = status.holders.iter();
    holders.any(|holder| holder.holder.process == process)
}
