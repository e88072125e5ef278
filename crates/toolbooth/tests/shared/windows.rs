//! Windows and pauses, which hold in each process, with the tokens in a store.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::shared::WhenAway;
use toolbooth::{ErrorKind, ToolError, tool_fn};
use toolbooth_test::{MemoryStore, boxed, ms};
use tower::Layer;

use crate::support::{Witness, process, rated, run};
use crate::tokens::rate;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn full_window_rejects_at_once() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Local);
    let layer = rate(&process, ms(100), 10).with_window(1, MINUTE).unwrap();
    let tool = rated(&layer.reject(), &witness);
    run(tool.clone(), 0).await.unwrap();
    let start = Instant::now();
    let error = run(tool, 0).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after(), start.elapsed()),
        (ErrorKind::RateLimited, Some(MINUTE), Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn pause_rejects_calls_that_wait_for_a_reply() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Local);
    let layer = rate(&process, ms(100), 10).with_cool_down(MINUTE).reject();
    let paused = tool_fn("tool", async |millis: u64| {
        sleep(ms(millis)).await;
        Err::<String, _>(ToolError::rate_limited(Duration::from_secs(30)))
    });
    let pauses = tokio::spawn(run(boxed(layer.layer(paused)), 10));
    sleep(ms(5)).await;
    store.set_delay(ms(20));
    let start = Instant::now();
    let rejected = timeout(MINUTE, run(rated(&layer, &witness), 0)).await;
    let error = rejected.expect("a rejection").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(start.elapsed() <= ms(25), "{:?}", start.elapsed());
    pauses.await.unwrap().unwrap_err();
    assert_eq!(witness.starts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn full_window_leaves_the_tokens_to_other_processes() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let layer = rate(&one, ms(100), 10).with_window(2, MINUTE).unwrap();
    let held = rated(&layer, &witness);
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        calls.spawn(run(held.clone(), 0));
    }
    sleep(ms(1)).await;
    assert_eq!(witness.starts(), [0, 0]);
    let others = Witness::default();
    let tool = rated(&rate(&other, ms(100), 10), &others);
    let start = Instant::now();
    for _ in 0..508 {
        run(tool.clone(), 0).await.unwrap();
    }
    // 8 of the burst, then all of the rate.
    assert_eq!(start.elapsed(), ms(49_999));
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.starts(), [0, 0, 60_000, 60_000, 120_000]);
}
