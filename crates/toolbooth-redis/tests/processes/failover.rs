//! What holds after a failover to a replica that lags.

use std::time::{Duration, Instant};

use toolbooth::shared::WhenAway;

use crate::permits::status;
use crate::proxy::Proxy;
use crate::server::Server;
use crate::witness::{Witness, wait_until};
use crate::worker::{Limit, Work, Worker};

const PERMITS: usize = 6;
/// Granted before the replica lags.
const KEPT: usize = 2;
/// Granted while it lags: the others.
const LOST: usize = PERMITS - KEPT;
/// Longer than the processes need to connect again.
const LEASE: Duration = Duration::from_secs(10);
/// Of the process that waits: more than permits.
const TASKS: usize = 12;

/// Starts a replica that is connected by a network of its own.
fn start_replica(primary: &Server) -> (Server, Proxy) {
    let (replica, network) = (Server::start(), Proxy::start(primary, Duration::ZERO));
    primary.command::<()>("CONFIG SET repl-diskless-sync-delay 0");
    let port = network.port();
    replica.command::<()>(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("a replica", || {
        let info: String = replica.command("INFO replication");
        info.contains("master_link_status:up")
    });
    (replica, network)
}

/// Reads the last fencing number of the limit: the third number of its state.
fn fence(server: &Server) -> usize {
    let script = "return cmsgpack.unpack(redis.call('HGET', KEYS[1], 'limit'))[3]";
    let mut eval = redis::cmd("EVAL");
    eval.arg(script).arg(1).arg("toolbooth:{limit}:state");
    eval.query(&mut server.admin()).expect("a number")
}

fn held(server: &Server) -> u64 {
    let holders = status(server).holders;
    holders.iter().map(|holder| holder.held).sum()
}

/// The permits of one process are on the replica, those of another one are not, and a third one
/// waits. The calls end when the test ends them, and long before the leases do.
fn server_fails_over(when_away: WhenAway) {
    let (mut server, witness) = (Server::start(), Witness::new());
    let (replica, replication) = start_replica(&server);
    let of_late = Proxy::start(&server, Duration::ZERO);
    let work = Work {
        when_away: when_away.to_string(),
        lease: u64::try_from(LEASE.as_millis()).expect("a short time"),
        command_timeout: 200,
        takes: 1_000_000,
        ..Work::new(&server.url(), &witness, Limit::Permits(PERMITS))
    };

    let kept = Work {
        tasks: KEPT,
        ..work.clone()
    };
    let kept = kept.start();
    witness.wait_for_running(KEPT);
    wait_until("the replica", || held(&replica) == KEPT as u64);

    // A replica that is stopped would still read what the kernel has received for it.
    replication.set_partitioned(true);
    let late = Work {
        url: of_late.url(),
        tasks: LOST,
        ..work.clone()
    };
    let late = late.start();
    witness.wait_for_running(PERMITS);
    let waits = Work {
        tasks: TASKS,
        processes: 3,
        ..work
    };
    let waits = waits.start();
    wait_until("a waiter", || status(&server).waiters.len() == 1);
    let granted = fence(&server);

    // The second process reports its permits when the third one has acquired.
    of_late.set_partitioned(true);
    server.kill();
    let away = match when_away {
        WhenAway::Closed => PERMITS,
        // A third of the limit.
        WhenAway::Local => PERMITS + PERMITS / 3,
        _ => PERMITS + TASKS,
    };
    witness.wait_for_running(away);
    replica.command::<()>("REPLICAOF NO ONE");
    assert_eq!(granted - fence(&replica), LOST);
    let promoted = Instant::now();
    std::fs::rename(replica.socket(), server.socket()).expect("a socket");

    let most = match when_away {
        WhenAway::Open => PERMITS + TASKS,
        _ => PERMITS + LOST,
    };
    witness.wait_for_running(most);
    of_late.set_partitioned(false);
    wait_until("all leases", || {
        let since = promoted.elapsed();
        let holders = status(&server).holders;
        held(&server) == most as u64 && holders.iter().all(|holder| holder.lease + since > LEASE)
    });
    assert_eq!(witness.take_most(), most);

    assert_limit_holds_again(&witness, most);
    assert_all_calls_end(when_away, &witness, [kept, late, waits]);
    assert_eq!(status(&server).holders, []);
}

/// Asserts that the limit holds once the calls that exceed it have ended.
fn assert_limit_holds_again(witness: &Witness, exceeded: usize) {
    let start_others = || {
        let before = witness.starts().len();
        witness.end_calls();
        wait_until("other calls", || witness.starts().len() == before + PERMITS);
        witness.wait_for_running(PERMITS);
    };
    start_others();
    assert_eq!(witness.take_most(), exceeded);
    for _ in 0..5 {
        start_others();
    }
    assert_eq!(witness.take_most(), PERMITS);
}

fn assert_all_calls_end(when_away: WhenAway, witness: &Witness, workers: [Worker; 3]) {
    witness.end_all_calls();
    for ended in workers.map(Worker::stop) {
        assert_eq!(ended.away, None);
        // No lease has ended.
        let mut failed = ended.failed.keys();
        let is_allowed = failed.all(|kind| kind == "overloaded" && when_away == WhenAway::Closed);
        assert!(is_allowed, "{ended:?} {when_away}");
    }
}

#[test]
fn closed_limit_is_exceeded_by_no_more_than_a_failover_has_lost() {
    server_fails_over(WhenAway::Closed);
}

#[test]
fn local_limit_is_exceeded_by_no_more_than_a_failover_has_lost() {
    server_fails_over(WhenAway::Local);
}

#[test]
fn open_limit_holds_again_after_a_failover() {
    server_fails_over(WhenAway::Open);
}
