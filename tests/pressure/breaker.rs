use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::breaker::BreakerState;
use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ErrorKind, TimeoutLayer, ToolCall, tool_fn};
use tower::{ServiceBuilder, ServiceExt};

use super::{Burners, LOAD, TASKS, ms};

/// The breaker of another crate loses wakeups: of 200 tasks, 14 hang for ever after its reset.
///
/// 200 tasks make calls while the breaker opens, probes, and is tripped and reset. Then each task
/// completes a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_lost_while_a_breaker_opens_and_closes() {
    let policy = BreakerPolicy::new()
        .with_open_time(ms(2))
        .with_half_open_limit(ms(20))
        .expect("it is not 0");
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let (stop, down) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let fails = Arc::clone(&down);
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(5)))
        .layer(breaker.clone())
        .service(tool_fn("api", move |number: usize| {
            let fails = fails.load(Ordering::Relaxed);
            async move {
                match number % 7 {
                    0 => sleep(ms(10)).await,
                    1 => sleep(ms(1)).await,
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
    let rejected = Arc::<AtomicUsize>::default();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (tool, stop, rejected) = (tool.clone(), Arc::clone(&stop), Arc::clone(&rejected));
        tasks.spawn(async move {
            let mut number = task;
            // Until the load ends, and then until a call completes.
            loop {
                number += 1;
                let call = tool.clone().oneshot(ToolCall::new("api", json!(number)));
                // Every fifth call is dropped while it runs.
                let result = match number % 5 {
                    0 => timeout(ms(1), call).await.ok(),
                    _ => Some(call.await),
                };
                match result {
                    Some(Ok(_)) if stop.load(Ordering::Relaxed) => return,
                    Some(Err(error)) if error.kind() == ErrorKind::CircuitOpen => {
                        rejected.fetch_add(1, Ordering::Relaxed);
                        sleep(ms(1)).await;
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
        sleep(ms(7)).await;
        breaker.reset();
        sleep(ms(7)).await;
    }
    down.store(false, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let ended = async { while tasks.join_next().await.is_some() {} };
    timeout(Duration::from_secs(20), ended).await.ok();
    assert_eq!(tasks.len(), 0, "tasks that still wait");
    drop(burners);

    // It was open often enough, and no probe is lost: the next call is admitted.
    assert!(rejected.load(Ordering::Relaxed) > TASKS);
    breaker.trip();
    sleep(ms(2)).await;
    let last = tool.oneshot(ToolCall::new("api", json!(3))).await;
    assert!(last.is_ok());
    assert_eq!(breaker.state(), BreakerState::Closed);
}
