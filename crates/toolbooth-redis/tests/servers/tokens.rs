use std::time::Duration;

use toolbooth::shared::{LimitStore, ReturnTokens, SetLimit, SharedQuota, TakeTokens};
use toolbooth_redis::BucketStatus;

use crate::server::Server;
use crate::support::{HOUR, assert_near, hourly, take, taken};

const HOUR_MICROS: u64 = 3_600_000_000;

fn waiting(least: u64, most: u64, max_wait: Duration, horizon: Duration) -> TakeTokens {
    TakeTokens {
        most,
        max_wait,
        horizon,
        ..take(hourly(5), least)
    }
}

fn returned(receipt: u64, tokens: u64, age: Duration) -> ReturnTokens {
    ReturnTokens {
        limit: "limit".into(),
        receipt,
        tokens,
        age,
    }
}

#[tokio::test]
async fn burst_is_taken_at_once_and_later_tokens_are_reserved_in_order() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    let first = taken(&one, waiting(1, 9, Duration::ZERO, Duration::ZERO)).await;
    assert_eq!((first.taken, first.wait), (5, Duration::ZERO));

    let none = taken(&other, waiting(1, 1, HOUR / 2, HOUR / 2)).await;
    assert_eq!((none.taken, none.receipt), (0, first.receipt));
    assert_near(none.wait, HOUR);

    let next = taken(&other, waiting(1, 1, HOUR, HOUR)).await;
    assert_eq!((next.taken, next.receipt), (1, first.receipt + HOUR_MICROS));
    assert_near(next.wait, HOUR);

    // As many as are available within the horizon: after 2, 3 and 4 hours.
    let more = taken(&one, waiting(1, 9, 2 * HOUR, 4 * HOUR)).await;
    assert_eq!(
        (more.taken, more.receipt),
        (3, next.receipt + 3 * HOUR_MICROS)
    );
    assert_near(more.wait, 4 * HOUR);
    assert_eq!(more.quotas, [hourly(5)]);
}

#[tokio::test]
async fn least_is_taken_as_a_whole_or_not_at_all() {
    let server = Server::start();
    let store = server.store().await;
    assert_eq!(taken(&store, take(hourly(5), 3)).await.taken, 3);
    let none = taken(&store, take(hourly(5), 4)).await;
    assert_eq!(none.taken, 0);
    assert_near(none.wait, 2 * HOUR);
    assert_eq!(taken(&store, take(hourly(5), 2)).await.taken, 2);
    // More than the burst are never available.
    let all = waiting(6, 6, 1000 * HOUR, 1000 * HOUR);
    assert_eq!(taken(&store, all).await.taken, 0);
}

#[tokio::test]
async fn set_quota_holds_for_all_and_keeps_what_is_missing() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    assert_eq!(taken(&one, take(hourly(5), 4)).await.taken, 4);
    // The quota of the server holds, not that of the process.
    let reply = taken(&other, take(hourly(100), 2)).await;
    assert_eq!((reply.taken, reply.quotas), (0, vec![hourly(5)]));

    let faster = SharedQuota {
        interval: HOUR / 2,
        burst: 6,
    };
    let set = TakeTokens {
        set: SetLimit::Always,
        ..take(faster, 0)
    };
    assert_eq!(taken(&one, set).await.quotas, [faster]);
    // 4 of 6 are missing, each refills in half an hour.
    let status = one.status("limit").await.expect("a status");
    let bucket = status.bucket.expect("a bucket");
    assert_eq!((bucket.quotas, bucket.tokens), (vec![faster], 2));
    let reply = taken(&other, take(hourly(100), 3)).await;
    assert_eq!((reply.taken, reply.quotas), (0, vec![faster]));
    assert_near(reply.wait, HOUR / 2);
}

#[tokio::test]
async fn set_quota_is_remembered_by_a_full_bucket() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    let set = TakeTokens {
        set: SetLimit::Always,
        ..take(hourly(3), 0)
    };
    taken(&one, set).await;
    let reply = taken(&other, take(hourly(100), 1)).await;
    assert_eq!((reply.taken, reply.quotas), (1, vec![hourly(3)]));
    let ttl: i64 = server.command("PTTL toolbooth:{limit}:bucket");
    assert!((86_000_000..=86_400_001).contains(&ttl), "{ttl}");
}

/// 3 at once by the second quota, then one every 2 hours. The first one has more of both.
#[tokio::test]
async fn several_quotas_are_taken_together() {
    let server = Server::start();
    let store = server.store().await;
    let second = SharedQuota {
        interval: 2 * HOUR,
        burst: 3,
    };
    let request = |most, max_wait| TakeTokens {
        quotas: vec![hourly(5), second],
        ..waiting(1, most, max_wait, HOUR)
    };
    let first = taken(&store, request(9, Duration::ZERO)).await;
    assert_eq!((first.taken, first.wait), (3, Duration::ZERO));
    assert_eq!(first.quotas, [hourly(5), second]);

    let none = taken(&store, request(1, HOUR)).await;
    assert_eq!(none.taken, 0);
    assert_near(none.wait, 2 * HOUR);
    let next = taken(&store, request(9, 2 * HOUR)).await;
    assert_eq!(next.taken, 1);
    assert_near(next.wait, 2 * HOUR);
    let status = store.status("limit").await.expect("a status");
    let bucket = status.bucket.expect("a bucket");
    assert_eq!((bucket.quotas, bucket.tokens), (first.quotas, 0));
    assert_near(bucket.wait, 4 * HOUR);

    let reply = store.return_tokens(returned(next.receipt, 1, Duration::ZERO));
    reply.await.expect("a reply");
    let again = taken(&store, request(1, 2 * HOUR)).await;
    assert_eq!((again.taken, again.receipt), (1, next.receipt));
    assert_near(again.wait, 2 * HOUR);
}

#[tokio::test]
async fn returned_tokens_of_the_last_reservation_are_whole() {
    let server = Server::start();
    let store = server.store().await;
    let first = taken(&store, take(hourly(5), 5)).await;
    let last = taken(&store, waiting(1, 4, 4 * HOUR, 4 * HOUR)).await;
    assert_eq!(last.taken, 4);

    // A reservation that others are behind: its tokens are lost.
    let reply = store.return_tokens(returned(first.receipt, 5, Duration::ZERO));
    reply.await.expect("a reply");
    let status = store.status("limit").await.expect("a status");
    assert_near(status.bucket.expect("a bucket").wait, 5 * HOUR);

    let reply = store.return_tokens(returned(last.receipt, 3, Duration::ZERO));
    reply.await.expect("a reply");
    let reply = taken(&store, waiting(1, 1, 2 * HOUR, HOUR)).await;
    assert_eq!(reply.receipt, last.receipt - 2 * HOUR_MICROS);
    assert_near(reply.wait, 2 * HOUR);
}

#[tokio::test]
async fn returned_tokens_are_what_has_not_refilled() {
    let server = Server::start();
    let store = server.store().await;
    let first = taken(&store, take(hourly(5), 2)).await;
    let second = taken(&store, take(hourly(5), 1)).await;
    let reply = store.return_tokens(returned(first.receipt, 2, HOUR / 2));
    reply.await.expect("a reply");
    let reply = taken(&store, take(hourly(5), 1)).await;
    // Of 2 hours, half an hour has refilled by itself.
    let credit = HOUR_MICROS * 3 / 2;
    assert_eq!(reply.receipt, second.receipt - credit + HOUR_MICROS);
}

#[tokio::test]
async fn full_bucket_leaves_nothing() {
    let server = Server::start();
    let store = server.store().await;
    let reply = taken(&store, take(hourly(5), 1)).await;
    assert_eq!(server.command::<u64>("DBSIZE"), 1);
    let reply = store.return_tokens(returned(reply.receipt, 1, Duration::ZERO));
    reply.await.expect("a reply");
    assert_eq!(server.command::<u64>("DBSIZE"), 0);
    taken(&store, take(hourly(5), 0)).await;
    assert_eq!(server.command::<u64>("DBSIZE"), 0);
    // Nothing to return it to.
    let reply = store.return_tokens(returned(1, 1, Duration::ZERO));
    reply.await.expect("a reply");
    assert_eq!(server.command::<u64>("DBSIZE"), 0);
}

#[tokio::test]
async fn extreme_quotas_are_exact() {
    let server = Server::start();
    let store = server.store().await;
    let fastest = SharedQuota {
        interval: Duration::from_micros(1),
        burst: u32::MAX,
    };
    let first = taken(&store, take(fastest, u64::from(u32::MAX))).await;
    assert_eq!(first.taken, u64::from(u32::MAX));

    let slowest = SharedQuota {
        interval: Duration::MAX,
        burst: u32::MAX,
    };
    let mut request = take(slowest, 1);
    request.limit = "slow".into();
    let one = taken(&store, request.clone()).await;
    assert_eq!((one.taken, one.quotas[0].burst), (1, 1));
    request.max_wait = Duration::MAX;
    let none = taken(&store, request).await;
    assert_eq!((none.taken, none.receipt), (0, one.receipt));
}

#[tokio::test]
async fn status_shows_the_bucket() {
    let server = Server::start();
    let store = server.store().await;
    assert_eq!(store.status("limit").await.expect("a status").bucket, None);
    taken(&store, take(hourly(5), 3)).await;
    let BucketStatus {
        quotas,
        tokens,
        wait,
        ..
    } = store
        .status("limit")
        .await
        .expect("a status")
        .bucket
        .expect("a bucket");
    assert_eq!((quotas, tokens, wait), (vec![hourly(5)], 2, Duration::ZERO));
}

#[tokio::test]
async fn charge_leaves_a_debt_of_one_full_bucket_at_most() {
    let server = Server::start();
    let store = server.store().await;
    let charge = |tokens| TakeTokens {
        charge: true,
        ..take(hourly(5), tokens)
    };
    let reply = taken(&store, charge(3)).await;
    assert_eq!((reply.taken, reply.wait), (3, Duration::ZERO));
    let reply = taken(&store, charge(3)).await;
    assert_eq!(reply.taken, 3);
    assert_near(reply.wait, HOUR);
    let reply = taken(&store, charge(u64::MAX)).await;
    assert_near(reply.wait, 5 * HOUR);
    assert_near(taken(&store, take(hourly(5), 1)).await.wait, 6 * HOUR);
}

#[tokio::test]
async fn longest_wait_is_a_number_that_the_scripts_count() {
    let server = Server::start();
    let store = server.store().await;
    let slowest = SharedQuota {
        interval: Duration::from_secs(1_000_000_000),
        burst: 1,
    };
    let none = taken(&store, take(slowest, 1_000_000)).await;
    assert_eq!(
        (none.taken, none.wait),
        (0, Duration::from_micros((1 << 53) - 1))
    );
}
