//! A thousand programs: none stays alive, memory is flat, and each poll reads a bounded amount.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{CleanupLayer, CommandOutput, CommandTool, ErrorKind};
use tower::ServiceExt;

use super::{LONG, Marked, call, stack};

const PROGRAMS: usize = 1_000;
const AT_ONCE: usize = 16;
/// After these, all lazy state exists.
const WARM: usize = 200;

/// The scripts, and whether they expire: a third of them do, some of them deaf, some chatty.
const SCRIPTS: [(&str, bool); 9] = [
    ("sleep 60 & echo done", false),
    ("(trap '' TERM; sleep 60) & echo done", false),
    ("head -c 300000 /dev/zero; echo warn >&2", false),
    ("seq 1 20000 >&2; exit 3", false),
    ("true", false),
    ("seq 1 2000", false),
    ("sleep 60 & sleep 60", true),
    ("trap '' TERM; sleep 60 & while :; do sleep 60; done", true),
    ("yes & yes >&2", true),
];

/// Returns a counter of a file of `/proc`.
fn counter(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("a file of /proc");
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).expect(name)
}

/// Runs a future, and records the most bytes that one poll has read on this thread.
async fn measured<T>(most: Rc<Cell<u64>>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let read = || counter("/proc/thread-self/io", "rchar:");
    poll_fn(|cx| {
        let before = read();
        let polled = future.as_mut().poll(cx);
        most.set(most.get().max(read() - before));
        polled
    })
    .await
}

/// Runs one program, and checks its end.
async fn run(marked: &Marked, cleanup: CleanupLayer, most: Rc<Cell<u64>>, n: usize) {
    let (script, expires) = SCRIPTS[n % SCRIPTS.len()];
    let output = match n / SCRIPTS.len() % 2 {
        0 => CommandOutput::Text,
        _ => CommandOutput::Lines,
    };
    let tool: CommandTool = marked
        .sh(script, &[])
        .with_output(output)
        .with_kill_grace(Duration::from_millis(50));
    let limit = match expires {
        true => Duration::from_millis(100),
        false => LONG,
    };
    let tool = stack(tool, limit, &cleanup);
    let response = async { tool.oneshot(call(json!({}))).await?.collect().await };
    let kind = measured(most, response)
        .await
        .err()
        .map(|error| error.kind());
    assert_eq!(kind == Some(ErrorKind::Timeout), expires, "{script}");
}

/// In a process of its own, whose memory no other test uses.
#[test]
fn thousand_programs_leave_no_process_and_memory_is_flat() {
    const CHILD: &str = "TOOLBOOTH_TEST_SOAK";
    if std::env::var_os(CHILD).is_none() {
        let me = std::env::current_exe().unwrap();
        let name = "soak::thousand_programs_leave_no_process_and_memory_is_flat";
        let ended = std::process::Command::new(me)
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .status();
        assert!(ended.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(soak());
}

async fn soak() {
    let (marked, cleanup) = (Marked::new(), CleanupLayer::new());
    let most = Rc::new(Cell::new(0));
    let resident = || counter("/proc/self/status", "VmRSS:");
    let longest = Arc::new(AtomicU64::new(0));
    let gaps = Arc::clone(&longest);
    let ticker = tokio::spawn(async move {
        loop {
            let last = Instant::now();
            sleep(Duration::from_millis(1)).await;
            let gap = last.elapsed().as_millis().try_into().expect("a short gap");
            gaps.fetch_max(gap, Ordering::Relaxed);
        }
    });
    let mut warm = 0;
    for range in [0..WARM, WARM..PROGRAMS] {
        warm = resident();
        let calls = range.map(|n| run(&marked, cleanup.clone(), Rc::clone(&most), n));
        let ended = iter(calls).buffer_unordered(AT_ONCE);
        ended.collect::<Vec<()>>().await;
    }
    ticker.abort();
    let report = cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
    let counts = (report.ran, report.failed, report.abandoned);
    assert_eq!(counts, (PROGRAMS as u64, 0, 0));

    let grown = resident().saturating_sub(warm);
    assert!(grown < 16 * 1_024, "{grown} KiB");
    // What `measured` itself reads is within the KiB.
    let most = most.get();
    assert!((8 * 1_024..=65 * 1_024).contains(&most), "{most}");

    let longest = longest.load(Ordering::Relaxed);
    eprintln!(
        "longest gap of a ticker of 1 ms: {longest} ms; grown by {grown} KiB; {most} B a poll"
    );
}
