//! What holds while the server is away, and after.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use toolbooth::shared::WhenAway;

use crate::permits::status;
use crate::server::Server;
use crate::witness::Witness;
use crate::worker::{Limit, Work, Worker};

const PERMITS: usize = 6;
/// More than permits.
const TASKS: usize = 12;
const LEASE: Duration = Duration::from_millis(900);

/// Two processes.
struct World {
    server: Server,
    witness: Witness,
    workers: [Worker; 2],
}

// === impl World ===

impl World {
    /// The second process calls, too, if it has tasks.
    fn start(when_away: WhenAway, others: usize) -> Self {
        let (server, witness) = (Server::start(), Witness::new());
        let busy = Work {
            when_away: when_away.to_string(),
            lease: 900,
            tasks: TASKS,
            takes: 20,
            deadline: Some(2_000),
            processes: 2,
            ..Work::new(&server.url(), &witness, Limit::Permits(PERMITS))
        };
        let other = Work {
            tasks: others,
            ..busy.clone()
        };
        let world = Self {
            workers: [busy.start(), other.start()],
            server,
            witness,
        };
        world.witness.wait_for_starts(5 * TASKS);
        assert_eq!(world.witness.take_most(), PERMITS);
        world
    }

    /// Asserts what holds while the server does not respond.
    fn assert_away(&self, when_away: WhenAway) {
        // No call that started before is left.
        thread::sleep(LEASE);
        self.witness.take_most();
        match when_away {
            WhenAway::Closed => {
                let before = self.witness.starts().len();
                thread::sleep(LEASE / 2);
                assert_eq!(self.witness.starts().len(), before);
                assert_eq!(self.witness.running(), 0);
            }
            _ => {
                let most = match when_away {
                    WhenAway::Local => PERMITS / 2,
                    _ => TASKS,
                };
                self.witness.wait_for_starts(5 * TASKS);
                assert_eq!(self.witness.take_most(), most);
            }
        }
    }

    /// Asserts that the whole limit holds again, and that nothing is lost.
    fn assert_healed(self, when_away: WhenAway) {
        // The documented time is the subject.
        thread::sleep(3 * LEASE);
        self.witness.take_most();
        self.witness.wait_for_starts(5 * TASKS);
        assert_eq!(self.witness.take_most(), PERMITS);
        for ended in self.workers.map(Worker::stop) {
            let allowed: &[&str] = match when_away {
                WhenAway::Closed => &["lease_lost", "overloaded"],
                _ => &[],
            };
            let mut failed = ended.failed.keys();
            let is_allowed = failed.all(|kind| allowed.contains(&kind.as_str()));
            assert!(is_allowed, "{ended:?} {when_away}");
        }
        assert_eq!(status(&self.server).holders, []);
    }

    /// Asserts that at most the permits that were lost are granted once more.
    fn assert_lost_data(&self, when_away: WhenAway) {
        self.witness.wait_for_starts(5 * TASKS);
        let most = self.witness.take_most();
        // There is no bound while the server is away.
        assert!(most <= 2 * PERMITS || when_away == WhenAway::Open, "{most}");
    }
}

fn server_is_killed(when_away: WhenAway) {
    let mut world = World::start(when_away, 0);
    world.server.kill();
    world.assert_away(when_away);
    world.server.run();
    world.assert_healed(when_away);
}

fn server_is_paused(when_away: WhenAway) {
    let world = World::start(when_away, 0);
    world.server.signal("STOP");
    world.assert_away(when_away);
    world.server.signal("CONT");
    world.assert_healed(when_away);
}

fn server_restarts_empty(when_away: WhenAway) {
    let mut world = World::start(when_away, TASKS);
    world.server.kill();
    world.server.run();
    world.assert_lost_data(when_away);
    world.assert_healed(when_away);
}

/// Returns a port of this machine that was free just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Tests each fault with each option.
macro_rules! faults {
    ($($test:ident: $fault:ident, $when_away:ident;)*) => {$(
        #[test]
        fn $test() {
            $fault(WhenAway::$when_away);
        }
    )*};
}

faults! {
    local_share_holds_while_the_server_is_dead: server_is_killed, Local;
    closed_limit_rejects_while_the_server_is_dead: server_is_killed, Closed;
    open_limit_grants_all_while_the_server_is_dead: server_is_killed, Open;
    local_share_holds_while_the_server_is_paused: server_is_paused, Local;
    closed_limit_rejects_while_the_server_is_paused: server_is_paused, Closed;
    open_limit_grants_all_while_the_server_is_paused: server_is_paused, Open;
    local_limit_holds_again_after_an_empty_restart: server_restarts_empty, Local;
    closed_limit_holds_again_after_an_empty_restart: server_restarts_empty, Closed;
    open_limit_holds_again_after_an_empty_restart: server_restarts_empty, Open;
}

#[test]
fn closed_limit_cancels_calls_before_their_lease_ends() {
    let (mut server, witness) = (Server::start(), Witness::new());
    let work = Work {
        when_away: WhenAway::Closed.to_string(),
        tasks: PERMITS,
        takes: 1_000_000,
        ..Work::new(&server.url(), &witness, Limit::Permits(PERMITS))
    };
    let _worker = work.start();
    witness.wait_for_running(PERMITS);
    server.kill();
    let killed = Instant::now();
    witness.wait_for_running(0);
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}
