//! A network that is slow, or parts a process from the server.

use std::thread;
use std::time::Duration;

use toolbooth::shared::WhenAway;

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
        tasks: 3,
        calls: Some(15),
        ..Work::new(&proxy.url(), &witness, Limit::Permits(5))
    };
    let mut workers: Vec<Worker> = (0..4).map(|_| work.start()).collect();
    for worker in &mut workers {
        assert_eq!(worker.ended().done, 15);
    }
    assert_eq!(witness.starts().len(), 60);
    assert_eq!(witness.take_most(), 5);
}

#[test]
fn closed_limit_is_not_exceeded_by_a_process_without_network() {
    let server = Server::start();
    let (all, near) = (Witness::new(), Proxy::start(&server, Duration::ZERO));
    let far = Proxy::start(&server, Duration::ZERO);
    let work = Work {
        when_away: WhenAway::Closed.to_string(),
        lease: 900,
        tasks: 6,
        takes: 20,
        deadline: Some(2_000),
        ..Work::new(&near.url(), &all, Limit::Permits(4))
    };
    let stays = work.start();
    let parted = Work {
        url: far.url(),
        ..work
    };
    let parted = parted.start();
    wait_until("both processes", || {
        near.connections() * far.connections() > 0
    });
    all.wait_for_starts(50);
    for _ in 0..2 {
        far.set_partitioned(true);
        // The permits of the other are free after its lease.
        thread::sleep(2 * LEASE);
        all.take_most();
        all.wait_for_starts(50);
        assert_eq!(all.take_most(), 4);
        far.set_partitioned(false);
        thread::sleep(LEASE);
        all.wait_for_starts(50);
        assert_eq!(all.take_most(), 4);
    }
    let ended = stays.stop();
    assert!(ended.failed.is_empty(), "{ended:?}");
    let ended = parted.stop();
    assert!(ended.failed.contains_key("overloaded"), "{ended:?}");
}
