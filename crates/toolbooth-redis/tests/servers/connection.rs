use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;
use toolbooth::shared::{Heartbeat, LimitStore};
use toolbooth_redis::{RedisOptions, RedisStore};

use crate::server::Server;
use crate::support::{HOUR, Process, hourly, notifications, subscribed, take, taken};

/// The commands of the documentation.
const PERMISSIONS: &str = "+hello +select +subscribe +publish +eval +evalsha +time +get +set +del +pexpireat \
    +hget +hmget +hset +hdel +zadd +zcard +zrange +zrem +zremrangebyscore +zscore";

/// Repeats a command until it succeeds.
async fn found(store: &RedisStore) {
    while store.take_tokens(take(hourly(1), 0)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Returns the texts of an error and its sources.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string(), format!("{error:?}")];
    let mut next = error.source();
    while let Some(error) = next {
        texts.extend([error.to_string(), format!("{error:?}")]);
        next = error.source();
    }
    texts
}

#[tokio::test]
async fn url_that_is_not_valid_is_an_error() {
    for url in [
        "",
        "localhost",
        "http://localhost",
        "redis://:hunter2@localhost/x",
        "redis://",
    ] {
        let error = RedisStore::connect(url).await.expect_err(url);
        assert!(error.is_url() && !error.is_rejected(), "{url}: {error}");
        assert!(!chain(&error).concat().contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn user_that_is_rejected_is_an_error_without_its_password() {
    let server = Server::start();
    server.command::<()>("ACL SETUSER bob on >hunter2 ~* &* +@all");
    let connect =
        async |query: &str| RedisStore::connect(&format!("{}?{query}", server.url())).await;
    for query in ["user=bob&pass=hunter3", "user=eve&pass=hunter3", "db=99999"] {
        let error = connect(query).await.expect_err(query);
        assert!(error.is_rejected() && !error.is_url(), "{query}: {error}");
        assert!(
            !chain(&error).concat().contains("hunter3"),
            "{:?}",
            chain(&error)
        );
    }
    let store = connect("user=bob&pass=hunter2&db=3")
        .await
        .expect("a store");
    assert_eq!(taken(&store, take(hourly(1), 1)).await.taken, 1);
    assert!(!format!("{store:?}").contains("hunter2"));
    assert_eq!(server.command::<u64>("DBSIZE"), 0, "not in database 0");
    // The password changes while the store is connected, and changes back.
    server.command::<()>("ACL SETUSER bob resetpass >hunter4");
    server.command::<()>("CLIENT KILL USER bob");
    loop {
        if let Err(error) = store.take_tokens(take(hourly(1), 0)).await {
            let texts = chain(&error).concat();
            assert!(!texts.contains("hunter"), "{texts}");
            if texts.contains("WRONGPASS") {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    server.command::<()>("ACL SETUSER bob resetpass >hunter2");
    found(&store).await;
}

#[tokio::test]
async fn documented_permissions_suffice() {
    let server = Server::start();
    server.command::<()>(&format!(
        "ACL SETUSER limits on >secret resetchannels &toolbooth:* ~toolbooth:* -@all {PERMISSIONS}"
    ));
    let url = format!("{}?user=limits&pass=secret", server.url());
    let store = RedisStore::connect(&url).await.expect("a store");
    let mut notified = notifications(&store, "b");
    subscribed(&server, "b").await;
    let (mut a, mut b) = (Process::new(&store, "a", 1), Process::new(&store, "b", 1));
    assert_eq!(a.granted(0, 1, 1).await, 1);
    assert_eq!(b.granted(0, 1, 1).await, 0);
    store.status("limit").await.expect("a status");
    a.update(0, 0, 0).await;
    assert_eq!(notified.recv().await, Some(7));
    assert_eq!(b.granted(0, 1, 1).await, 1);
    assert_eq!(taken(&store, take(hourly(1), 1)).await.taken, 1);
    let process = "a".into();
    let report = Heartbeat {
        process,
        lifetime: HOUR,
    };
    assert_eq!(store.heartbeat(report).await.expect("a reply"), 1);
}

#[tokio::test]
async fn server_that_is_away_at_first_is_found() {
    let mut server = Server::stopped();
    let store = server.store().await;
    let error = store
        .take_tokens(take(hourly(1), 1))
        .await
        .expect_err("no server");
    assert!(error.to_string().contains("No such file"), "{error}");
    server.run();
    found(&store).await;
    assert_eq!(taken(&store, take(hourly(1), 1)).await.taken, 1);
}

#[tokio::test]
async fn server_that_accepts_and_is_silent_does_not_hang_the_start() {
    let server = Server::start();
    server.signal("STOP");
    let started = Instant::now();
    let options = RedisOptions::new().with_timeout(Duration::from_millis(200));
    let store = RedisStore::connect_with(&server.url(), options)
        .await
        .expect("a store");
    assert!(started.elapsed() < Duration::from_secs(10));
    store
        .take_tokens(take(hourly(1), 1))
        .await
        .expect_err("no reply");
    server.signal("CONT");
    found(&store).await;
}

#[tokio::test]
async fn restarted_server_is_found_and_notifies_again() {
    let mut server = Server::start();
    let store = server.store().await;
    let mut notified = notifications(&store, "b");
    let (mut a, mut b) = (Process::new(&store, "a", 1), Process::new(&store, "b", 1));
    for _ in 0..3 {
        server.kill();
        while store.take_tokens(take(hourly(1), 0)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.run();
        found(&store).await;
        // The scripts were lost with the server. The first connection has subscribed already.
        assert_eq!(a.granted(0, 1, 1).await, 1);
        assert_eq!(b.granted(0, 1, 1).await, 0);
        a.update(0, 0, 0).await;
        assert_eq!(notified.recv().await, Some(7));
        assert_eq!(b.granted(0, 1, 1).await, 1);
    }
}

#[tokio::test]
async fn connection_without_replies_is_replaced() {
    let server = Server::start();
    let options = RedisOptions::new().with_timeout(Duration::from_millis(100));
    let store = RedisStore::connect_with(&server.url(), options)
        .await
        .expect("a store");
    server.signal("STOP");
    // While the next connection is opened, commands fail at once.
    loop {
        let sent = Instant::now();
        let reply = store.take_tokens(take(hourly(1), 0)).await;
        reply.expect_err("no reply");
        if sent.elapsed() < Duration::from_millis(50) {
            break;
        }
    }
    server.signal("CONT");
    found(&store).await;
}

#[tokio::test]
async fn dropped_command_is_executed() {
    let server = Server::start();
    let store = server.store().await;
    // The server must know the script.
    found(&store).await;
    server.signal("STOP");
    let mut command = store.take_tokens(take(hourly(5), 2));
    let limit = tokio::time::timeout(Duration::from_millis(20), &mut command);
    limit.await.expect_err("no reply");
    drop(command);
    server.signal("CONT");
    assert_eq!(taken(&store, take(hourly(5), 4)).await.taken, 0);
    assert_eq!(taken(&store, take(hourly(5), 3)).await.taken, 3);
}

#[tokio::test]
async fn connection_ends_with_the_last_clone() {
    let server = Server::start();
    let store = server.store().await;
    let clone = store.clone();
    drop(store);
    found(&clone).await;
    drop(clone);
    // Only the connection that counts is left.
    let count = || server.command::<String>("CLIENT LIST").lines().count();
    while count() > 1 {
        tokio::task::yield_now().await;
    }
}
