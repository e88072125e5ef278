use std::time::{Duration, Instant};

use toolbooth_redis::{LimitStatus, RedisStore};

use crate::clocks::{assert_apart, start_apart};
use crate::server::Server;
use crate::witness::{Witness, wait_until};
use crate::worker::{Ended, Limit, Work, Worker};

pub(crate) fn status(server: &Server) -> LimitStatus {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = RedisStore::connect(&server.url()).await.expect("a store");
        store.status("limit").await.expect("a status")
    })
}

fn eight_processes(start: impl Fn(u32, &Work) -> Worker) -> Vec<Ended> {
    let (server, witness) = (Server::start(), Witness::new());
    let work = Work {
        tasks: 5,
        calls: Some(100),
        ..Work::new(&server.url(), &witness, Limit::Permits(10))
    };
    let mut workers: Vec<Worker> = (0..8).map(|number| start(number, &work)).collect();
    let ended: Vec<Ended> = workers.iter_mut().map(Worker::ended).collect();
    assert!(ended.iter().all(|ended| ended.done == 100), "{ended:?}");
    assert_eq!(witness.starts().len(), 800);
    assert_eq!(witness.take_most(), 10);
    assert_eq!(status(&server).holders, []);
    ended
}

#[test]
fn eight_processes_have_ten_permits_together() {
    eight_processes(|_, work| work.start());
}

#[test]
fn clocks_an_hour_apart_make_no_difference_to_permits() {
    for (number, ended) in (0..).zip(eight_processes(start_apart)) {
        assert_apart(number, ended.clock);
    }
}

#[test]
fn permits_of_a_killed_process_are_free_at_the_end_of_its_lease() {
    let server = Server::start();
    let (killed, waiting) = (Witness::new(), Witness::new());
    let forever = Work {
        tasks: 5,
        takes: 1_000_000,
        ..Work::new(&server.url(), &killed, Limit::Permits(5))
    };
    let mut holder = forever.start();
    killed.wait_for_running(5);
    let waiter = Work {
        witness: waiting.socket(),
        ..forever
    };
    let _waiter = waiter.start();
    wait_until("a waiter", || status(&server).waiters.len() == 1);

    holder.kill();
    killed.wait_for_running(0);
    let asked = Instant::now();
    let left = status(&server).holders;
    let [left] = &left[..] else {
        panic!("{left:?}");
    };
    assert_eq!(left.held, 5);
    assert!(left.lease <= Duration::from_secs(1), "{left:?}");
    assert_eq!(waiting.starts(), []);

    waiting.wait_for_running(5);
    let first = waiting.starts()[0] - asked;
    let late = Duration::from_millis(500);
    assert!(
        first >= left.lease && first < left.lease + late,
        "{first:?} {left:?}"
    );
    assert_eq!(waiting.take_most(), 5);
}
