//! What a rate limit does with the replies of its store.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::shared::{
    Heartbeat, LimitStore, PermitsUpdated, ReturnTokens, SharedOptions, SharedQuota, SharedStore,
    StoreFuture, TakeTokens, TokensTaken, UpdatePermits, WhenAway,
};
use toolbooth::{ErrorKind, ToolCall};
use toolbooth_test::{MemoryStore, ms};
use tower::ServiceExt;

use crate::support::{Witness, process, rated, run};
use crate::tokens::rate;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_more_than_a_day_sends_few_commands() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(2));
    let process = process(&store, WhenAway::Local);
    let tool = rated(&rate(&process, 7 * DAY, 1), &witness);
    run(tool.clone(), 0).await.unwrap();
    let heartbeats = DAY.as_secs() * 7 * 3 / 10;
    let before = store.commands();
    let waiting = tokio::spawn(run(tool.clone(), 0));
    sleep(ms(10)).await;
    assert!(
        store.commands() - before < 4,
        "{}",
        store.commands() - before
    );
    // A call behind it that cannot start before its deadline is rejected by the reply to one more.
    let start = Instant::now();
    let call = ToolCall::new("tool", 0.into()).with_deadline(start + DAY);
    let error = tool.oneshot(call).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::RateLimited, ms(2))
    );
    waiting.await.unwrap().unwrap();
    assert!(store.commands() - before < heartbeats + 100);
    let week = witness.starts()[1];
    assert!(
        week.abs_diff((7 * DAY).as_millis()) <= 3,
        "{week} ms after the first"
    );
}

/// A store whose replies make no sense.
#[derive(Debug, Clone)]
struct Nonsense(MemoryStore, TokensTaken);

impl LimitStore for Nonsense {
    fn take_tokens(&self, _: TakeTokens) -> StoreFuture<TokensTaken> {
        let reply = self.1.clone();
        Box::pin(async move { Ok(reply) })
    }

    fn return_tokens(&self, request: ReturnTokens) -> StoreFuture<()> {
        self.0.return_tokens(request)
    }

    fn update_permits(&self, request: UpdatePermits) -> StoreFuture<PermitsUpdated> {
        self.0.update_permits(request)
    }

    fn heartbeat(&self, request: Heartbeat) -> StoreFuture<u64> {
        self.0.heartbeat(request)
    }
}

#[tokio::test(start_paused = true)]
async fn replies_without_sense_neither_panic_nor_send_without_end() {
    let quota = |interval, burst| SharedQuota { interval, burst };
    for quotas in [
        vec![],
        vec![quota(Duration::ZERO, 0)],
        vec![quota(Duration::MAX, u32::MAX); 2],
        vec![quota(ms(1), 10)],
    ] {
        for taken in [0, 1, 1_000, u64::MAX] {
            for wait in [Duration::ZERO, ms(10), Duration::MAX] {
                let reply = TokensTaken {
                    taken,
                    wait,
                    receipt: u64::MAX,
                    quotas: quotas.clone(),
                };
                let store = Nonsense(MemoryStore::new(), reply);
                let process = SharedStore::new(store, SharedOptions::new());
                let witness = Witness::default();
                let tool = rated(&rate(&process, ms(10), 10), &witness);
                let mut calls = JoinSet::new();
                for _ in 0..3 {
                    let call = run(tool.clone(), 0);
                    calls.spawn(async move { drop(timeout(ms(1_000), call).await) });
                }
                while let Some(result) = calls.join_next().await {
                    result.unwrap();
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_late_reply_are_returned() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Local);
    let tool = rated(&rate(&process, Duration::from_secs(36), 100), &witness);
    sleep(ms(1)).await;
    // The burst is taken within the command timeout, and the reply comes after it.
    store.set_delay(ms(90));
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        calls.spawn(run(tool.clone(), 0));
    }
    sleep(ms(1)).await;
    store.set_delay(ms(1));
    let start = Instant::now();
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert!(start.elapsed() < ms(150), "{:?}", start.elapsed());
}
