use std::thread;
use std::time::{Duration, Instant};

use crate::clocks::start_apart;
use crate::server::Server;
use crate::witness::Witness;
use crate::worker::{Limit, Work, Worker};

const PROCESSES: u32 = 8;
const PER_SECOND: u32 = 100;
const BURST: u32 = 10;

/// Two command timeouts: the delay between server and start.
const DELAY: Duration = Duration::from_millis(100);

/// Asserts that the starts in each window are bounded as documented.
fn assert_bounded(starts: &[Instant], prefetch: u32) {
    for (i, first) in starts.iter().enumerate() {
        for (more, last) in starts[i..].iter().enumerate() {
            let window = *last - *first;
            let refilled = (window + DELAY).as_secs_f64() * f64::from(PER_SECOND);
            let bound = f64::from(BURST + PROCESSES * prefetch) + refilled.ceil();
            let count = u32::try_from(more + 1).expect("a short test");
            assert!(
                f64::from(count) <= bound,
                "{count} of {bound} in {window:?}"
            );
        }
    }
}

fn eight_processes(prefetch: u32, start: impl Fn(u32, &Work) -> Worker) {
    let (server, witness) = (Server::start(), Witness::new());
    let rate = Limit::Rate {
        per_second: PER_SECOND,
        burst: BURST,
        prefetch,
    };
    let work = Work {
        tasks: 3,
        ..Work::new(&server.url(), &witness, rate)
    };
    let workers: Vec<Worker> = (0..PROCESSES).map(|number| start(number, &work)).collect();
    witness.wait_for_starts(50);
    // The rate is the subject.
    let measured = Duration::from_secs(3);
    let (before, from) = (witness.starts().len(), Instant::now());
    thread::sleep(measured);
    let (started, took) = (witness.starts().len() - before, from.elapsed());
    for worker in workers {
        let ended = worker.stop();
        assert!(ended.failed.is_empty(), "{ended:?}");
    }
    assert_bounded(&witness.starts(), prefetch);
    let quota = took.as_secs_f64() * f64::from(PER_SECOND);
    let started = u32::try_from(started).expect("a short test");
    assert!(f64::from(started) >= 0.9 * quota, "{started} of {quota}");
}

#[test]
fn eight_processes_have_one_quota() {
    eight_processes(0, |_, work| work.start());
}

#[test]
fn eight_processes_that_prefetch_have_one_quota() {
    eight_processes(4, |_, work| work.start());
}

#[test]
fn clocks_an_hour_apart_make_no_difference_to_a_quota() {
    eight_processes(0, start_apart);
}
