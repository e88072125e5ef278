use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::breaker::BreakerState;
use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ErrorKind, TimeoutLayer, ToolCall, tool_fn};
use tower::{ServiceBuilder, ServiceExt};

use super::{Burners, LOAD, TASKS};

/// In another crate's breaker a wakeup is lost now and then: of 200 tasks, 14 hung for good after it was reset. Here 200 tasks
/// call while it opens, probes, and is tripped and reset: when that ends, each of them has its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cblost() {
    let policy = BreakerPolicy::new()
        .with_open_time(Duration::from_millis(2))
        .with_half_open_limit(Duration::from_millis(20))
        .expect("it is not 0");
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let (stop, down) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let fails = Arc::clone(&down);
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(5)))
        .layer(breaker.clone())
        .service(tool_fn("api", move |number: usize| {
            let fails = fails.load(Ordering::Relaxed);
            async move {
                match number % 7 {
                    0 => sleep(Duration::from_millis(10)).await,
                    1 => sleep(Duration::from_millis(1)).await,
                    2 => tokio::task::yield_now().await,
                    _ => {}
                }
                match fails {
                    true => Err(std::io::Error::other("503")),
                    false => Ok(number),
                }
            }
        }));

    let burners = Burners::start(4);
    let refused = Arc::<AtomicUsize>::default();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (tool, stop, refused) = (tool.clone(), Arc::clone(&stop), Arc::clone(&refused));
        tasks.spawn(async move {
            let mut number = task;
            // Until it is told to stop, and then until it has an answer.
            loop {
                number += 1;
                let call = tool.clone().oneshot(ToolCall::new("api", json!(number)));
                // Every so manieth caller leaves in the middle.
                let answer = match number % 5 {
                    0 => timeout(Duration::from_millis(1), call).await.ok(),
                    _ => Some(call.await),
                };
                match answer {
                    Some(Ok(_)) if stop.load(Ordering::Relaxed) => return,
                    Some(Err(error)) if error.kind() == ErrorKind::CircuitOpen => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_millis(1)).await;
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        });
    }
    let began = Instant::now();
    while began.elapsed() < LOAD {
        down.fetch_xor(true, Ordering::Relaxed);
        breaker.trip();
        sleep(Duration::from_millis(7)).await;
        breaker.reset();
        sleep(Duration::from_millis(7)).await;
    }
    down.store(false, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let ended = async { while tasks.join_next().await.is_some() {} };
    timeout(Duration::from_secs(20), ended).await.ok();
    assert_eq!(tasks.len(), 0, "tasks that still wait");
    drop(burners);

    // It was shut often enough for this to mean something, and no probe is lost: the next call gets through.
    assert!(refused.load(Ordering::Relaxed) > TASKS);
    breaker.trip();
    sleep(Duration::from_millis(2)).await;
    tool.oneshot(ToolCall::new("api", json!(3)))
        .await
        .expect("it is up");
    assert_eq!(breaker.state(), BreakerState::Closed);
}
