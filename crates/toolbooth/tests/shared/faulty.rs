//! Limits whose commands fail or arrive late, while the store answers others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbooth::shared::{
    Heartbeat, LimitStore, Notify, PermitsUpdated, ReturnTokens, SetLimit, SharedOptions,
    SharedStore, StoreError, StoreFuture, TakeTokens, TokensTaken, UpdatePermits, WhenAway,
};
use toolbooth::{ConcurrencyLimitLayer, ErrorKind, Event, Name};
use toolbooth_test::{MemoryStore, boxed, ms};
use tower::Layer;

use crate::support::{Witness, process, run};
use crate::tokens::rate;

/// A store that fails the commands of the limit `bad`, and delays a limit that is set.
#[derive(Debug, Clone)]
struct FaultyStore {
    inner: MemoryStore,
    fails: Arc<AtomicBool>,
    delay_of_changes: Duration,
    grants_too_much: bool,
}

// === impl FaultyStore ===

impl FaultyStore {
    fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            fails: Arc::new(AtomicBool::new(true)),
            delay_of_changes: Duration::ZERO,
            grants_too_much: false,
        }
    }

    /// Executes a command of a limit, or fails.
    fn run<T: 'static>(&self, limit: &str, command: StoreFuture<T>) -> StoreFuture<T> {
        match limit == "bad" && self.fails.load(Ordering::SeqCst) {
            true => Box::pin(async {
                sleep(ms(1)).await;
                Err(StoreError::new("WRONGTYPE"))
            }),
            false => command,
        }
    }
}

impl LimitStore for FaultyStore {
    fn take_tokens(&self, request: TakeTokens) -> StoreFuture<TokensTaken> {
        let limit = request.limit.clone();
        self.run(&limit, self.inner.take_tokens(request))
    }

    fn return_tokens(&self, request: ReturnTokens) -> StoreFuture<()> {
        let limit = request.limit.clone();
        self.run(&limit, self.inner.return_tokens(request))
    }

    fn update_permits(&self, request: UpdatePermits) -> StoreFuture<PermitsUpdated> {
        let (limit, store) = (request.limit.clone(), self.clone());
        let command: StoreFuture<_> = Box::pin(async move {
            if request.set == SetLimit::Always {
                sleep(store.delay_of_changes).await;
            }
            let mut reply = store.inner.update_permits(request).await?;
            if store.grants_too_much && reply.granted > 0 {
                (reply.granted, reply.fence) = (u64::MAX, u64::MAX);
            }
            Ok(reply)
        });
        self.run(&limit, command)
    }

    fn heartbeat(&self, request: Heartbeat) -> StoreFuture<u64> {
        self.inner.heartbeat(request)
    }

    fn notify_with(&self, process: &Name, notify: Notify) {
        self.inner.notify_with(process, notify);
    }
}

fn store_of(store: &FaultyStore, when_away: WhenAway) -> SharedStore {
    let options = SharedOptions::new().with_when_away(when_away);
    SharedStore::new(store.clone(), options)
}

/// Keeps the store answering: makes calls of another limit, again and again.
fn others(store: &SharedStore) -> tokio::task::JoinHandle<()> {
    let layer = ConcurrencyLimitLayer::new(1).with_store(store, "good");
    let tool = boxed(layer.layer(Witness::default().tool()));
    tokio::spawn(async move {
        loop {
            run(tool.clone(), 1).await.expect("the store answers");
        }
    })
}

#[tokio::test(start_paused = true)]
async fn limit_whose_commands_fail_holds_without_the_store() {
    for when_away in [WhenAway::Local, WhenAway::Closed, WhenAway::Open] {
        let (faulty, witness) = (FaultyStore::new(), Witness::default());
        let store = store_of(&faulty, when_away);
        sleep(ms(1)).await;
        let others = others(&store);
        let permits = ConcurrencyLimitLayer::new(1).with_store(&store, "bad");
        let tokens = rate(&store, ms(10), 1).reject().with_store(&store, "bad");
        let limits = [
            boxed(permits.layer(witness.tool())),
            boxed(tokens.layer(witness.tool())),
        ];
        for limit in &limits {
            let start = Instant::now();
            let result = run(limit.clone(), 0).await;
            match when_away {
                WhenAway::Closed => {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::Overloaded);
                }
                _ => result.unwrap(),
            }
            // Three commands of 1 ms, with pauses of 10 ms.
            assert!(start.elapsed() <= ms(3 + 2 * 11), "{:?}", start.elapsed());
        }
        assert!(!store.is_away());
        // From then on at once, and a probe finds that the commands do not fail any more.
        let start = Instant::now();
        let _ = run(limits[0].clone(), 0).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        faulty.fails.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        let call = tokio::spawn(run(limits[0].clone(), 10));
        sleep(ms(1)).await;
        assert_eq!(faulty.inner.held("bad"), 1, "{when_away}");
        call.await.unwrap().unwrap();
        others.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn limit_whose_commands_fail_is_probed_at_most_each_second() {
    let faulty = FaultyStore::new();
    let events: Arc<std::sync::atomic::AtomicU64> = Arc::default();
    let seen = Arc::clone(&events);
    let options = SharedOptions::new().with_events(move |_: &Event| {
        seen.fetch_add(1, Ordering::SeqCst);
    });
    let store = SharedStore::new(faulty.clone(), options);
    let layer = ConcurrencyLimitLayer::new(1).with_store(&store, "bad");
    let tool = boxed(layer.layer(Witness::default().tool()));
    for _ in 0..1_000 {
        run(tool.clone(), 10).await.unwrap();
    }
    // Without another limit the store seems to be away once, and is found by its probe.
    assert_eq!(events.load(Ordering::SeqCst), 2);
    assert!(!store.is_away());
}

#[tokio::test(start_paused = true)]
async fn changed_limit_is_not_lost_by_a_later_command_that_arrives_first() {
    let mut faulty = FaultyStore::new();
    faulty.delay_of_changes = ms(20);
    let store = store_of(&faulty, WhenAway::Local);
    let other = process(&faulty.inner, WhenAway::Local);
    sleep(ms(1)).await;
    let witness = Witness::default();
    let layer = ConcurrencyLimitLayer::new(10).with_store(&store, "limit");
    let others = ConcurrencyLimitLayer::new(10).with_store(&other, "limit");
    let (tool, other_tool) = (
        boxed(layer.layer(witness.tool())),
        boxed(others.layer(witness.tool())),
    );
    run(tool.clone(), 0).await.unwrap();
    sleep(ms(1)).await;
    layer.set_limit(2).unwrap();
    sleep(ms(5)).await;
    run(tool, 0).await.unwrap();
    run(other_tool, 0).await.unwrap();
    assert_eq!((layer.available(), others.available()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn reply_that_grants_too_much_counts_as_what_was_needed() {
    let mut faulty = FaultyStore::new();
    faulty.grants_too_much = true;
    let store = store_of(&faulty, WhenAway::Closed);
    let witness = Witness::default();
    let layer = ConcurrencyLimitLayer::new(3).with_store(&store, "limit");
    let tool = boxed(layer.layer(witness.tool()));
    let calls = [10, 10].map(|millis| tokio::spawn(run(tool.clone(), millis)));
    sleep(ms(1)).await;
    let third = tokio::spawn(run(tool, 10));
    for call in calls.into_iter().chain([third]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!((witness.most(), store.is_away()), (3, false));
    sleep(ms(1)).await;
    assert_eq!(faulty.inner.held("limit"), 0);
}
