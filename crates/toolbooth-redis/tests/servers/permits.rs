use std::time::Duration;

use toolbooth::shared::{Heartbeat, LimitStore, SetLimit};

use crate::server::Server;
use crate::support::{HOUR, Process, assert_near, notifications, subscribed};

#[tokio::test]
async fn permits_are_granted_up_to_the_limit() {
    let server = Server::start();
    let store = server.store().await;
    let (mut a, mut b) = (Process::new(&store, "a", 3), Process::new(&store, "b", 3));
    let first = a.update(0, 1, 2).await;
    assert_eq!((first.granted, first.permits), (2, 3));
    assert_eq!(first.retry_after, None);
    let second = b.update(0, 1, 2).await;
    assert_eq!((second.granted, second.fence), (1, first.fence + 1));
    // It waits for one more.
    assert_near(second.retry_after.expect("a time"), HOUR);
    assert_eq!(a.granted(2, 1, 1).await, 0);
    // A release, and its repetition.
    assert_eq!(a.granted(0, 0, 0).await, 0);
    assert_eq!(a.granted(0, 0, 0).await, 0);
    let third = b.update(1, 1, 9).await;
    assert_eq!((third.granted, third.fence), (2, first.fence + 3));
}

#[tokio::test]
async fn waiters_are_served_in_their_order() {
    let server = Server::start();
    let store = server.store().await;
    let mut processes = ["a", "b", "c", "d"].map(|name| Process::new(&store, name, 3));
    let [a, b, c, d] = &mut processes;
    assert_eq!(a.granted(0, 3, 3).await, 3);
    assert_eq!(b.granted(0, 2, 2).await, 0);
    assert_eq!(c.granted(0, 1, 1).await, 0);
    // One permit is free, and b needs two: c does not overtake it.
    assert_eq!(a.granted(2, 0, 0).await, 0);
    assert_eq!(c.granted(0, 1, 1).await, 0);
    assert_eq!(d.granted(0, 1, 1).await, 0);
    // b needs less now: it is still the first, and goes to the end for the rest.
    assert_eq!(b.granted(0, 1, 2).await, 1);
    assert_eq!(a.granted(1, 0, 0).await, 0);
    assert_eq!(b.granted(1, 1, 1).await, 0);
    assert_eq!(d.granted(0, 1, 1).await, 0);
    assert_eq!(c.granted(0, 1, 1).await, 1);
    // a leaves, and so does d: b is the next.
    assert_eq!(a.granted(0, 0, 0).await, 0);
    assert_eq!(d.granted(0, 0, 0).await, 0);
    assert_eq!(b.granted(1, 1, 1).await, 1);
}

#[tokio::test]
async fn first_waiter_is_notified_once_when_it_can_start() {
    let server = Server::start();
    let (one, two) = (server.store().await, server.store().await);
    let mut of_b = notifications(&one, "b");
    let mut of_c = notifications(&two, "c");
    subscribed(&server, "b").await;
    subscribed(&server, "c").await;
    let mut a = Process::new(&one, "a", 2);
    let (mut b, mut c) = (Process::new(&one, "b", 2), Process::new(&two, "c", 2));
    assert_eq!(a.granted(0, 2, 2).await, 2);
    assert_eq!(b.granted(0, 1, 1).await, 0);
    assert_eq!(c.granted(0, 1, 1).await, 0);
    a.update(1, 0, 0).await;
    assert_eq!(of_b.recv().await, Some(7));
    // The second permit is not c's before b has used its notification, nor is b notified again.
    a.update(0, 0, 0).await;
    assert_eq!(b.granted(0, 1, 1).await, 1);
    assert_eq!(of_c.recv().await, Some(7));
    assert_eq!(c.granted(0, 1, 1).await, 1);
    assert!(of_b.is_empty() && of_c.is_empty());
}

#[tokio::test]
async fn notified_waiter_that_gets_nothing_is_notified_again() {
    let server = Server::start();
    let store = server.store().await;
    let mut of_b = notifications(&store, "b");
    subscribed(&server, "b").await;
    let (mut a, mut b) = (Process::new(&store, "a", 1), Process::new(&store, "b", 1));
    assert_eq!(a.granted(0, 1, 1).await, 1);
    assert_eq!(b.granted(0, 1, 1).await, 0);
    a.update(0, 0, 0).await;
    assert_eq!(of_b.recv().await, Some(7));
    // a registers a permit again that it had used while the store was away.
    a.update(1, 0, 0).await;
    assert_eq!(b.granted(0, 1, 1).await, 0);
    a.update(0, 0, 0).await;
    assert_eq!(of_b.recv().await, Some(7));
    assert_eq!(b.granted(0, 1, 1).await, 1);
}

#[tokio::test]
async fn notified_waiter_that_is_silent_is_removed_from_the_queue() {
    let server = Server::start();
    let store = server.store().await;
    let mut processes = ["a", "b", "c"].map(|name| Process::new(&store, name, 1));
    let [a, b, c] = &mut processes;
    c.next.turn = Duration::from_millis(20);
    assert_eq!(a.granted(0, 1, 1).await, 1);
    assert_eq!(b.granted(0, 1, 1).await, 0);
    a.update(0, 0, 0).await;
    let reply = c.update(0, 1, 1).await;
    assert_eq!(reply.granted, 0);
    let turn = reply.retry_after.expect("the end of the turn");
    assert!(turn <= c.next.turn, "{turn:?}");
    tokio::time::sleep(turn).await;
    assert_eq!(c.granted(0, 1, 1).await, 1);
    assert_eq!(b.granted(0, 1, 1).await, 0);
    let waiters = store.status("limit").await.expect("a status").waiters;
    assert_eq!(waiters.len(), 1);
}

#[tokio::test]
async fn permits_of_a_dead_process_are_free_after_its_lease() {
    let server = Server::start();
    let store = server.store().await;
    let (mut a, mut b) = (Process::new(&store, "a", 5), Process::new(&store, "b", 5));
    a.next.lifetime = Duration::from_millis(30);
    let first = a.update(0, 5, 5).await;
    assert_eq!(first.granted, 5);
    let reply = b.update(0, 5, 5).await;
    assert_eq!(reply.granted, 0);
    let lease = reply.retry_after.expect("the end of the lease");
    assert!(lease <= a.next.lifetime, "{lease:?}");
    tokio::time::sleep(lease).await;
    assert_eq!(b.update(0, 5, 5).await.fence, first.fence + 5);
}

#[tokio::test]
async fn command_with_an_old_number_changes_nothing() {
    let server = Server::start();
    let store = server.store().await;
    let mut a = Process::new(&store, "a", 5);
    assert_eq!(a.granted(0, 2, 2).await, 2);
    let late = a.next.clone();
    assert_eq!(a.granted(2, 1, 1).await, 1);
    let before = store.status("limit").await.expect("a status");
    let mut late = late;
    (late.held, late.least, late.most) = (0, 1, 5);
    (late.set, late.permits) = (SetLimit::Always, 100);
    let reply = store.update_permits(late).await.expect("a reply");
    assert_eq!((reply.granted, reply.permits), (0, 5));
    let after = store.status("limit").await.expect("a status");
    assert_eq!(after.holders[0].held, 3);
    assert_eq!(before.holders[0].held, 3);
    assert_eq!((after.permits, after.waiters), (Some(5), vec![]));
}

#[tokio::test]
async fn set_limit_holds_for_all() {
    let server = Server::start();
    let store = server.store().await;
    let (mut a, mut b) = (Process::new(&store, "a", 2), Process::new(&store, "b", 9));
    assert_eq!(a.granted(0, 2, 2).await, 2);
    let reply = b.update(0, 1, 1).await;
    assert_eq!((reply.granted, reply.permits), (0, 2));
    (a.next.set, a.next.permits) = (SetLimit::Always, 4);
    assert_eq!(a.update(2, 0, 0).await.permits, 4);
    assert_eq!(b.granted(0, 1, 1).await, 1);
    // A lower limit takes no permit away.
    (a.next.set, a.next.permits) = (SetLimit::Always, 1);
    assert_eq!(a.granted(2, 1, 1).await, 0);
    assert_eq!(a.granted(0, 1, 1).await, 0);
    assert_eq!(b.update(0, 0, 0).await.permits, 1);
    assert_eq!(a.granted(0, 1, 1).await, 1);
}

#[tokio::test]
async fn lost_data_is_learnt_again() {
    let server = Server::start();
    let store = server.store().await;
    let (mut a, mut b) = (Process::new(&store, "a", 3), Process::new(&store, "b", 3));
    assert_eq!(a.granted(0, 2, 2).await, 2);
    assert_eq!(b.granted(0, 1, 1).await, 1);
    server.command::<()>("FLUSHALL");
    assert_eq!(a.granted(2, 1, 1).await, 1);
    // b states what it has: more than the limit counts, too.
    assert_eq!(b.granted(1, 1, 1).await, 0);
    assert_eq!(a.granted(2, 0, 0).await, 0);
    assert_eq!(b.granted(1, 1, 1).await, 0);
    let held = store.status("limit").await.expect("a status").holders;
    assert_eq!(held.iter().map(|holder| holder.held).sum::<u64>(), 3);
}

#[tokio::test]
async fn numbers_of_permits_increase_after_the_data_is_lost() {
    let server = Server::start();
    let store = server.store().await;
    let mut last = 0;
    for part in ["state", "leases", "none"] {
        let mut process = Process::new(&store, part, 3);
        let reply = process.update(0, 3, 3).await;
        assert_eq!(reply.granted, 3);
        assert!(reply.fence >= last + 3, "{} {last}", reply.fence);
        last = reply.fence;
        process.update(0, 0, 0).await;
        server.command::<()>(&format!("DEL toolbooth:{{limit}}:{part}"));
    }
    server.command::<()>("FLUSHALL");
    let mut process = Process::new(&store, "after", 3);
    assert!(process.update(0, 3, 3).await.fence >= last + 3);
}

/// The time of a command does not grow with the processes that have nothing of the limit.
#[tokio::test]
async fn waiting_command_reads_few_leases() {
    let server = Server::start();
    let store = server.store().await;
    let mut holder = Process::new(&store, "holder", 1);
    holder.next.lifetime = 2 * HOUR;
    let mut waiter = Process::new(&store, "waiter", 1);
    waiter.next.lifetime = 3 * HOUR;
    assert_eq!(holder.granted(0, 1, 1).await, 1);
    assert_near(
        waiter.update(0, 1, 1).await.retry_after.expect("a time"),
        2 * HOUR,
    );
    for number in 0..100 {
        Process::new(&store, &number.to_string(), 1)
            .update(0, 0, 0)
            .await;
    }
    server.command::<()>("CONFIG RESETSTAT");
    let retry_after = waiter.update(0, 1, 1).await.retry_after.expect("a time");
    // The end of one of the leases: that of the holder is later.
    assert_near(retry_after, HOUR);
    let stats: String = server.command("INFO commandstats");
    let reads = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_hget:calls="));
    let reads: u64 = reads
        .and_then(|line| line.split(',').next()?.parse().ok())
        .expect("a number");
    assert!(reads <= 17, "{reads}");
}

#[tokio::test]
async fn evicted_key_leaks_no_permit() {
    for part in ["leases", "waiting", "state"] {
        let server = Server::start();
        let store = server.store().await;
        let mut processes = ["a", "b", "c"].map(|name| Process::new(&store, name, 3));
        let [a, b, c] = &mut processes;
        assert_eq!(a.granted(0, 2, 2).await, 2);
        assert_eq!(b.granted(0, 1, 1).await, 1);
        assert_eq!(c.granted(0, 1, 1).await, 0);
        server.command::<()>(&format!("DEL toolbooth:{{limit}}:{part}"));
        a.update(2, 0, 0).await;
        b.update(1, 0, 0).await;
        assert_eq!(c.granted(0, 1, 1).await, 0, "{part}");
        a.update(0, 0, 0).await;
        b.update(0, 0, 0).await;
        assert_eq!(c.granted(0, 1, 3).await, 3, "{part}");
    }
}

#[tokio::test]
async fn processes_that_report_are_counted() {
    let server = Server::start();
    let store = server.store().await;
    let report = async |process: &str, lifetime| {
        let process = process.into();
        let reply = store.heartbeat(Heartbeat { process, lifetime });
        reply.await.expect("a reply")
    };
    assert_eq!(report("a", HOUR).await, 1);
    assert_eq!(report("b", HOUR).await, 2);
    assert_eq!(report("a", HOUR).await, 2);
    let short = Duration::from_millis(10);
    assert_eq!(report("c", short).await, 3);
    tokio::time::sleep(short).await;
    assert_eq!(report("b", HOUR).await, 2);
    assert_eq!(report("a", Duration::ZERO).await, 1);
    assert_eq!(report("b", Duration::ZERO).await, 0);
    assert_eq!(server.command::<u64>("DBSIZE"), 0);
}

#[tokio::test]
async fn status_shows_holders_and_waiters() {
    let server = Server::start();
    let store = server.store().await;
    let mut processes = ["a", "b", "c"].map(|name| Process::new(&store, name, 3));
    let [a, b, c] = &mut processes;
    a.next.lifetime = 2 * HOUR;
    a.update(0, 2, 2).await;
    b.update(0, 2, 2).await;
    c.update(0, 1, 1).await;
    let status = store.status("limit").await.expect("a status");
    assert_eq!((status.permits, status.bucket), (Some(3), None));
    assert_eq!(status.holders.len(), 1);
    assert_eq!(status.holders[0].holder, a.next.holder);
    assert_eq!(status.holders[0].held, 2);
    assert_near(status.holders[0].lease, 2 * HOUR);
    let waiters = status.waiters.iter();
    let waiters: Vec<_> = waiters.map(|one| (&one.holder, one.least)).collect();
    assert_eq!(waiters, [(&b.next.holder, 2), (&c.next.holder, 1)]);
}
