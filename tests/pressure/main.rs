//! Real threads, a real clock, and a machine that is busy with other things: nobody who waits is forgotten.
//!
//! The tests are named after the cases in which other crates' tasks hang for good.

mod breaker;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use toolbooth::{
    ConcurrencyLimitLayer, Order, RateLimitLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

type Tool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

const TASKS: usize = 200;
const LOAD: Duration = Duration::from_secs(3);

/// Threads that compute while they live.
struct Burners {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

// === impl Burners ===

impl Burners {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let burner = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut x = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005));
                }
            })
        };
        let threads = (0..count).map(burner).collect();
        Self { stop, threads }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok());
        }
    }
}

fn runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build();
    runtime.expect("a runtime can be built")
}

/// Each task calls again and again while there is load: how many were answered, and how many tasks still wait long after it.
async fn pending_after_load(tool: Tool) -> (usize, usize) {
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (tool, stop, answered) = (tool.clone(), Arc::clone(&stop), Arc::clone(&answered));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let priority = i32::try_from(task % 3).expect("below 3");
                let call = ToolCall::new("tool", json!(null)).with_priority(priority);
                let answer = tool.clone().oneshot(call).await;
                assert!(answer.is_ok());
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::time::sleep(LOAD).await;
    stop.store(true, Ordering::Relaxed);
    let all = async { while tasks.join_next().await.is_some_and(|done| done.is_ok()) {} };
    // With a call every 5 ms the line is empty after a second.
    let _ = tokio::time::timeout(Duration::from_secs(10), all).await;
    (answered.load(Ordering::Relaxed), tasks.len())
}

fn every(period: Duration) -> Quota {
    Quota::with_period(period)
        .expect("not zero")
        .allow_burst(NonZeroU32::MIN)
}

#[test]
fn lost() {
    let _burners = Burners::start(4);
    let tool = tool_fn("tool", async |(): ()| Ok::<_, Infallible>("done"));
    let yields = tool_fn("tool", async |(): ()| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>("done")
    });
    let [often, seldom] = [Duration::from_micros(200), Duration::from_millis(5)].map(every);
    let by_priority = Order::priority().with_aging(Duration::from_millis(100));
    let rates = [
        RateLimitLayer::new(often),
        RateLimitLayer::new(seldom),
        RateLimitLayer::new(often).with_order(by_priority.clone()),
    ];
    let limits = [
        ConcurrencyLimitLayer::new(2),
        ConcurrencyLimitLayer::new(2).with_order(by_priority),
    ];
    let rated = rates.iter().map(|rate| Tool::new(rate.layer(tool.clone())));
    let limited = limits
        .iter()
        .map(|limit| Tool::new(limit.layer(yields.clone())));
    let tools: Vec<Tool> = rated.chain(limited).collect();

    let ended = runtime().block_on(async {
        let each = tools
            .into_iter()
            .map(|tool| tokio::spawn(pending_after_load(tool)));
        futures_util::future::join_all(each).await
    });
    for ended in ended {
        let (answered, pending) = ended.expect("no task panics");
        assert_eq!(pending, 0);
        assert!(
            answered > TASKS,
            "{answered} of {TASKS} tasks were answered: there was no load"
        );
    }
    for rate in rates {
        assert_eq!(rate.queued(), 0);
    }
    for limit in limits {
        assert_eq!((limit.available(), limit.queued()), (2, 0));
    }
}
