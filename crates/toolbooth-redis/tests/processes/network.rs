//! A network that is slow, or parts a process from the server.

use std::thread;
use std::time::Duration;

use toolbooth::shared::WhenAway;

use crate::namespace::Namespace;
use crate::permits::status;
use crate::proxy::Proxy;
use crate::server::Server;
use crate::witness::{Witness, wait_until};
use crate::worker::{Limit, Work, Worker};

const LEASE: Duration = Duration::from_millis(900);

#[test]
fn limit_holds_over_a_network_of_50_ms() {
    let (server, witness) = (Server::start(), Witness::new());
    let proxy = Proxy::start(&server, Duration::from_millis(25));
    let work = Work {
        lease: 3_000,
        command_timeout: 300,
        processes: 4,
        tasks: 3,
        calls: Some(15),
        // Longer than a round trip, so that all permits are in use at once.
        takes: 100,
        ..Work::new(&proxy.url(), &witness, Limit::Permits(5))
    };
    let mut workers: Vec<Worker> = (0..4).map(|_| work.start()).collect();
    for worker in &mut workers {
        assert_eq!(worker.ended().done, 15);
    }
    assert_eq!(witness.starts().len(), 60);
    assert_eq!(witness.take_most(), 5);
}

/// Calls through 4 permits until it is stopped, once both processes have started.
fn work(server: &Server, witness: &Witness, when_away: WhenAway) -> Work {
    Work {
        when_away: when_away.to_string(),
        lease: 900,
        processes: 2,
        tasks: 6,
        takes: 20,
        deadline: Some(2_000),
        ..Work::new(&server.url(), witness, Limit::Permits(4))
    }
}

/// Parts a process from the server again and again: the limit is never exceeded.
fn closed_limit_is_not_exceeded(
    server: &Server,
    start: &dyn Fn(&Work) -> Worker,
    set_partitioned: &dyn Fn(bool),
) {
    let all = Witness::new();
    let work = work(server, &all, WhenAway::Closed);
    let (parted, stays) = (start(&work), work.start());
    all.wait_for_starts(50);
    for _ in 0..2 {
        set_partitioned(true);
        // The permits of the other are free after its lease.
        thread::sleep(2 * LEASE);
        assert_eq!(holders(server), 1);
        all.take_most();
        all.wait_for_starts(50);
        assert_eq!(all.take_most(), 4);
        set_partitioned(false);
        wait_until("the other process", || holders(server) == 2);
        all.wait_for_starts(50);
        assert_eq!(all.take_most(), 4);
    }
    let ended = stays.stop();
    assert!(ended.failed.is_empty(), "{ended:?}");
    let ended = parted.stop();
    assert!(ended.failed.contains_key("overloaded"), "{ended:?}");
}

/// Parts a process from the server during calls that outlive its lease.
fn calls_end_before_others_have_their_permits(
    server: &Server,
    start: &dyn Fn(&Work) -> Worker,
    set_partitioned: &dyn Fn(bool),
) {
    let all = Witness::new();
    let long = Work {
        processes: 1,
        tasks: 4,
        takes: 1_000_000,
        deadline: None,
        ..work(server, &all, WhenAway::Closed)
    };
    let parted = start(&long);
    all.wait_for_running(4);
    let stays = long.start();
    wait_until("a waiter", || status(server).waiters.len() == 1);

    set_partitioned(true);
    all.wait_for_starts(4);
    assert_eq!(all.take_most(), 4);
    assert_eq!(holders(server), 1);

    all.end_all_calls();
    set_partitioned(false);
    wait_until("the other process", || holders(server) == 2);
    let ended = stays.stop();
    assert!(ended.failed.is_empty(), "{ended:?}");
    let mut ended = parted.stop();
    assert_eq!(ended.failed.remove("lease_lost"), Some(4), "{ended:?}");
    let mut failed = ended.failed.into_keys();
    assert!(failed.all(|kind| kind == "overloaded"));
}

/// Returns how many processes have a lease.
fn holders(server: &Server) -> u64 {
    server.command("ZCARD toolbooth:{limit}:leases")
}

/// A test that parts a process that was started by the second argument.
type Parts = fn(&Server, &dyn Fn(&Work) -> Worker, &dyn Fn(bool));

fn connection_stalls(test: Parts) {
    let server = Server::start();
    let proxy = Proxy::start(&server, Duration::ZERO);
    let start = |work: &Work| {
        let url = proxy.url();
        let work = work.clone();
        Work { url, ..work }.start()
    };
    test(&server, &start, &|parted| proxy.set_partitioned(parted));
}

fn packets_are_lost(test: Parts) {
    let (server, host) = (Server::start(), Namespace::new());
    let url = host.listen(&server);
    let start = |work: &Work| {
        let (url, work) = (url.clone(), work.clone());
        host.start(&Work { url, ..work })
    };
    test(&server, &start, &|parted| host.set_partitioned(parted));
}

#[test]
fn closed_limit_is_not_exceeded_by_a_process_whose_connection_stalls() {
    connection_stalls(closed_limit_is_not_exceeded);
}

#[test]
fn closed_limit_is_not_exceeded_by_a_host_whose_packets_are_lost() {
    packets_are_lost(closed_limit_is_not_exceeded);
}

#[test]
fn calls_of_a_process_whose_connection_stalls_end_before_others_have_their_permits() {
    connection_stalls(calls_end_before_others_have_their_permits);
}

#[test]
fn calls_of_a_host_whose_packets_are_lost_end_before_others_have_their_permits() {
    packets_are_lost(calls_end_before_others_have_their_permits);
}

#[test]
fn local_share_holds_on_a_host_whose_packets_are_lost() {
    let (server, host) = (Server::start(), Namespace::new());
    let (near, far) = (Witness::new(), Witness::new());
    let stays = work(&server, &near, WhenAway::Local).start();
    let parted = host.start(&Work {
        url: host.listen(&server),
        ..work(&server, &far, WhenAway::Local)
    });
    far.wait_for_starts(20);
    host.set_partitioned(true);
    thread::sleep(2 * LEASE);
    for (witness, permits) in [(&near, 4), (&far, 2)] {
        witness.take_most();
        witness.wait_for_starts(50);
        assert_eq!(witness.take_most(), permits);
    }
    assert_eq!(holders(&server), 1);
    host.set_partitioned(false);
    wait_until("the other process", || holders(&server) == 2);
    for ended in [stays.stop(), parted.stop()] {
        assert!(ended.failed.is_empty(), "{ended:?}");
    }
}
