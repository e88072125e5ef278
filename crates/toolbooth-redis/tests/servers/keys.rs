use std::collections::BTreeSet;
use std::time::Duration;

use toolbooth::shared::{Heartbeat, LimitStore, ReturnTokens, SetLimit, SharedQuota, TakeTokens};
use toolbooth_redis::{RedisOptions, RedisStore};

use crate::server::Server;
use crate::support::{Process, hourly, take, taken};

fn set_limit(rng: &mut fastrand::Rng) -> SetLimit {
    match rng.u32(0..50) {
        0 => SetLimit::Always,
        1 | 2 => SetLimit::IfConfigured,
        _ => SetLimit::IfUnknown,
    }
}

#[tokio::test]
async fn every_key_expires_after_every_command() {
    let server = Server::start();
    let store = server.store().await;
    let mut admin = server.admin();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut processes = ["a", "b", "c"].map(|name| Process::new(&store, name, 5));
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let mut lifetime = || Duration::from_micros(rng.u64(0..20_000));
        let (short, turn) = (lifetime(), lifetime());
        match rng.u32(0..10) {
            0 => {
                let process = "a".into();
                let reply = store.heartbeat(Heartbeat {
                    process,
                    lifetime: short,
                });
                reply.await.expect("a reply");
            }
            1 => {
                let reply = store.return_tokens(ReturnTokens {
                    limit: "limit".into(),
                    receipt: rng.u64(0..1 << 50),
                    tokens: rng.u64(0..10),
                    age: short,
                });
                reply.await.expect("a reply");
            }
            2 | 3 => {
                let quota = SharedQuota {
                    interval: Duration::from_micros(rng.u64(1..10_000)),
                    burst: rng.u32(1..10),
                };
                let request = TakeTokens {
                    set: set_limit(&mut rng),
                    most: 9,
                    max_wait: short,
                    horizon: turn,
                    ..take(quota, rng.u64(0..9))
                };
                taken(&store, request).await;
            }
            _ => {
                let process = rng.choose_multiple(processes.iter_mut(), 1);
                for process in process {
                    process.next.set = set_limit(&mut rng);
                    (process.next.lifetime, process.next.turn) = (short, turn);
                    let least = rng.u64(0..4);
                    process
                        .update(rng.u64(0..4), least, least + rng.u64(0..3))
                        .await;
                }
            }
        }
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut admin).expect("keys");
        for key in keys {
            let ttl: i64 = redis::cmd("PTTL")
                .arg(&key)
                .query(&mut admin)
                .expect("a time");
            // -2 is a key that has expired since.
            assert!(ttl != -1 && ttl <= 86_400_001, "{key}: {ttl}");
            seen.insert(key);
        }
    }
    let parts = [
        "processes",
        "{limit}:bucket",
        "{limit}:leases",
        "{limit}:state",
        "{limit}:waiting",
    ];
    let parts = parts.map(|part| format!("toolbooth:{part}"));
    assert_eq!(seen, BTreeSet::from(parts));
}

#[tokio::test]
async fn hostile_names_are_separate_limits() {
    let server = Server::start();
    let store = server.store().await;
    let long = "x".repeat(1 << 20);
    let names = [
        "",
        "%",
        "{",
        "}",
        "{}",
        "a}b{",
        "a:bucket",
        "a",
        "\0",
        "\n",
        "ä\u{202e}",
        "limit/{x}",
        long.as_str(),
        &long[1..],
    ];
    for name in names {
        let mut request = take(hourly(1), 1);
        request.limit = name.into();
        assert_eq!(taken(&store, request.clone()).await.taken, 1, "{name:.20}");
        assert_eq!(taken(&store, request).await.taken, 0, "{name:.20}");
        let mut process = Process::new(&store, name, 1);
        process.next.limit = name.into();
        assert_eq!(process.granted(0, 1, 1).await, 1, "{name:.20}");
        let status = store.status(name).await.expect("a status");
        assert_eq!(status.holders.len(), 1, "{name:.20}");
    }
    // For each limit a bucket, leases and a state, and no queue.
    assert_eq!(server.command::<usize>("DBSIZE"), 3 * names.len());
    let keys: Vec<Vec<u8>> = server.command("KEYS *");
    assert!(keys.iter().all(|key| key.len() < 250));
}

#[tokio::test]
async fn prefixes_are_separate() {
    let server = Server::start();
    let connect = async |prefix: &str| {
        let options = RedisOptions::new().with_prefix(prefix);
        RedisStore::connect_with(&server.url(), options)
            .await
            .expect("a store")
    };
    let (one, other) = (connect("one").await, connect("other").await);
    assert_eq!(taken(&one, take(hourly(1), 1)).await.taken, 1);
    assert_eq!(taken(&one, take(hourly(1), 1)).await.taken, 0);
    assert_eq!(taken(&other, take(hourly(1), 1)).await.taken, 1);
    let keys: BTreeSet<String> = server.command("KEYS *");
    assert_eq!(
        keys,
        ["one:{limit}:bucket", "other:{limit}:bucket"]
            .map(str::to_owned)
            .into()
    );
}

#[tokio::test]
async fn key_of_another_type_fails_the_command_as_a_whole() {
    for part in ["leases", "waiting", "state", "bucket"] {
        let server = Server::start();
        let store = server.store().await;
        server.command::<()>(&format!("SET toolbooth:{{limit}}:{part} x"));
        let process = Process::new(&store, "a", 1);
        let mut next = process.next.clone();
        (next.number, next.least, next.most) = (1, 1, 1);
        let error = match part {
            "bucket" => store.take_tokens(take(hourly(1), 1)).await.expect_err(part),
            _ => store.update_permits(next).await.expect_err(part),
        };
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
        assert_eq!(server.command::<u64>("DBSIZE"), 1, "{part}");
        // Another limit is as before.
        let mut request = take(hourly(1), 1);
        request.limit = "other".into();
        assert_eq!(taken(&store, request).await.taken, 1);
    }
}
