//! Commands in short.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use toolbooth::shared::{
    Holder, LimitStore, PermitsUpdated, SetLimit, SharedQuota, TakeTokens, TokensTaken,
    UpdatePermits,
};
use toolbooth_redis::RedisStore;

use crate::server::Server;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// How long the commands of a test may take together, by the server's clock.
const TEST: Duration = Duration::from_secs(60);

impl Server {
    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.url()).await.expect("a store")
    }
}

/// Asserts that a time that ran on while the test did is what was expected.
#[track_caller]
pub(crate) fn assert_near(time: Duration, expected: Duration) {
    assert!(
        time <= expected && time + TEST > expected,
        "{time:?} instead of {expected:?}"
    );
}

pub(crate) fn hourly(burst: u32) -> SharedQuota {
    SharedQuota {
        interval: HOUR,
        burst,
    }
}

pub(crate) fn take(quota: SharedQuota, least: u64) -> TakeTokens {
    TakeTokens {
        limit: "limit".into(),
        quotas: vec![quota],
        set: SetLimit::IfUnknown,
        least,
        most: least,
        max_wait: Duration::ZERO,
        horizon: Duration::ZERO,
        charge: false,
    }
}

pub(crate) async fn taken(store: &RedisStore, request: TakeTokens) -> TokensTaken {
    store.take_tokens(request).await.expect("a reply")
}

/// A process of a test, which counts its commands.
pub(crate) struct Process {
    pub(crate) store: RedisStore,
    pub(crate) next: UpdatePermits,
}

impl Process {
    pub(crate) fn new(store: &RedisStore, name: &str, permits: u64) -> Self {
        Self {
            store: store.clone(),
            next: UpdatePermits {
                limit: "limit".into(),
                holder: Holder {
                    process: name.into(),
                    number: 7,
                },
                number: 0,
                permits,
                set: SetLimit::IfUnknown,
                held: 0,
                least: 0,
                most: 0,
                lifetime: HOUR,
                turn: HOUR / 2,
            },
        }
    }

    /// Reports what it has, and acquires more.
    pub(crate) async fn update(&mut self, held: u64, least: u64, most: u64) -> PermitsUpdated {
        let next = &mut self.next;
        next.number += 1;
        (next.held, next.least, next.most) = (held, least, most);
        let reply = self.store.update_permits(next.clone()).await;
        next.set = SetLimit::IfUnknown;
        reply.expect("a reply")
    }

    pub(crate) async fn granted(&mut self, held: u64, least: u64, most: u64) -> u64 {
        self.update(held, least, most).await.granted
    }
}

/// Receives the notifications of a process.
pub(crate) fn notifications(store: &RedisStore, process: &str) -> UnboundedReceiver<u64> {
    let (sender, receiver) = unbounded_channel();
    let notify = Arc::new(move |number| {
        let _ = sender.send(number);
    });
    store.notify_with(&process.into(), notify);
    receiver
}

/// Waits until the server has as many subscribers of a process.
pub(crate) async fn subscribed(server: &Server, process: &str) {
    let numsub = format!("PUBSUB NUMSUB toolbooth:notify:{process}");
    while server.command::<(String, u64)>(&numsub).1 == 0 {
        tokio::task::yield_now().await;
    }
}
