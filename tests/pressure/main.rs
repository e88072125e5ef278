//! Real threads, the real clock, and a busy machine: no waiter is lost.
//!
//! The tests restate cases in which tasks of other crates hang for ever.

mod breaker;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use governor::Quota;
use tokio::task::JoinSet;
use toolbooth::{ConcurrencyLimitLayer, Order, RateLimitLayer, tool_fn};
use toolbooth_test::{BoxTool, boxed, call, ms};
use tower::{Layer, ServiceExt};

const TASKS: usize = 200;
const LOAD: Duration = Duration::from_secs(3);

/// Threads that keep the cores busy until they are dropped.
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

/// Makes calls on 200 tasks under load; returns how many completed and how many tasks still wait
/// long after the load.
async fn pending_after_load(tool: BoxTool) -> (usize, usize) {
    let (stop, completed) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (tool, stop, completed) = (tool.clone(), Arc::clone(&stop), Arc::clone(&completed));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let priority = i32::try_from(task % 3).expect("below 3");
                let call = call("tool").with_priority(priority);
                assert!(tool.clone().oneshot(call).await.is_ok());
                completed.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::time::sleep(LOAD).await;
    stop.store(true, Ordering::Relaxed);
    let all = async { while tasks.join_next().await.is_some_and(|done| done.is_ok()) {} };
    // With a call every 5 ms the queue is empty after a second.
    let _ = tokio::time::timeout(Duration::from_secs(10), all).await;
    (completed.load(Ordering::Relaxed), tasks.len())
}

fn every(period: Duration) -> Quota {
    Quota::with_period(period).expect("not zero")
}

#[test]
fn no_waiter_is_lost_under_load() {
    let _burners = Burners::start(4);
    let tool = tool_fn("tool", async |(): ()| Ok::<_, Infallible>("done"));
    let yields = tool_fn("tool", async |(): ()| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>("done")
    });
    let [often, seldom] = [Duration::from_micros(200), ms(5)].map(every);
    let by_priority = Order::priority().with_aging(ms(100));
    let rates = [
        RateLimitLayer::new(often),
        RateLimitLayer::new(seldom),
        RateLimitLayer::new(often).with_order(by_priority.clone()),
    ];
    let limits = [
        ConcurrencyLimitLayer::new(2),
        ConcurrencyLimitLayer::new(2).with_order(by_priority),
    ];
    let rated = rates.iter().map(|rate| boxed(rate.layer(tool.clone())));
    let limited = limits
        .iter()
        .map(|limit| boxed(limit.layer(yields.clone())));
    let tools: Vec<_> = rated.chain(limited).collect();

    let ended = toolbooth_tests::runtime(2).block_on(async {
        let each = tools
            .into_iter()
            .map(|tool| tokio::spawn(pending_after_load(tool)));
        futures_util::future::join_all(each).await
    });
    for ended in ended {
        let (completed, pending) = ended.expect("no task panics");
        assert_eq!(pending, 0);
        assert!(
            completed > TASKS,
            "{completed} calls of {TASKS} tasks completed: there was no load"
        );
    }
    for rate in rates {
        assert_eq!(rate.queued(), 0);
    }
    for limit in limits {
        assert_eq!((limit.available(), limit.queued()), (2, 0));
    }
}
