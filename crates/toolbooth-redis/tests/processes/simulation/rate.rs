use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use toolbooth::{Quota, RateLimitLayer, tool_fn};
use toolbooth_test::{boxed, ms};
use tower::Layer;

use super::{Process, Random, TOO_LONG, end_calls, simulate};
use crate::proxy::Proxy;
use crate::server::Server;

/// How many steps a world has: most calls are dropped, and few of them return a reservation.
const STEPS: usize = 320;
/// Two command timeouts: the delay between server and start.
const DELAY: Duration = Duration::from_millis(100);

struct World {
    seed: u64,
    server: Arc<Server>,
    random: Random,
    starts: Arc<Mutex<Vec<Instant>>>,
    burst: u32,
    /// How many milliseconds it takes until there is another token.
    every: u64,
    prefetch: u32,
    processes: Vec<Process>,
    /// Of processes that have ended.
    networks: Vec<Proxy>,
    /// How many processes there were in all.
    started: u32,
}

/// Returns how long a caller waits. Most drop their calls while these wait for tokens.
fn patience(random: &mut Random) -> Duration {
    match random.below(16) {
        0 => Duration::MAX,
        _ => ms(random.below(60)),
    }
}

// === impl World ===

impl World {
    async fn start(server: Arc<Server>, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut world = Self {
            seed,
            server,
            starts: Arc::default(),
            burst: 1 + random.below_u32(3),
            every: 25 + random.below(25),
            prefetch: random.below_u32(4) / 2,
            random,
            processes: Vec::new(),
            networks: Vec::new(),
            started: 0,
        };
        for _ in 0..2 + world.random.below(2) {
            world.start_process().await;
        }
        world
    }

    async fn start_process(&mut self) {
        let starts = Arc::clone(&self.starts);
        let tool = tool_fn("tool", move |_: u64| {
            starts.lock().expect("no panic").push(Instant::now());
            async { Ok::<_, std::convert::Infallible>("done") }
        });
        let quota = Quota::with_period(ms(self.every)).expect("above zero");
        let quota = quota.allow_burst(NonZeroU32::new(self.burst).expect("1 or more"));
        let layer = RateLimitLayer::new(quota);
        let prefetch = self.prefetch;
        let process = Process::start(&self.server, self.seed, |limits| {
            let limits = limits.with_prefetch(prefetch);
            boxed(limits.rate("limit", layer).layer(tool))
        });
        self.processes.push(process.await);
        self.started += 1;
    }

    /// Calls, drops, kills, or changes the network.
    async fn step(&mut self) {
        let chosen = self.random.below_usize(self.processes.len());
        let process = &mut self.processes[chosen];
        match self.random.below(20) {
            // The reservation of one that is dropped while it waits is returned.
            0..10 => {
                for _ in 0..=self.random.below(2) {
                    process.call(0, patience(&mut self.random));
                }
            }
            // Replies are late or lost.
            10 => process.proxy.set_partitioned(true),
            11 | 12 => process.proxy.set_partitioned(false),
            13 if self.processes.len() > 1 => self.processes.swap_remove(chosen).kill(),
            // It ends, and returns what it has taken.
            14 if self.processes.len() > 1 => {
                let network = self.processes.swap_remove(chosen).end();
                self.networks.push(network);
            }
            15 if self.processes.len() < 4 => self.start_process().await,
            16 => sleep(ms(self.random.below(100))).await,
            _ => sleep(ms(self.random.below(30))).await,
        }
    }

    /// Ends all faults, waits for all calls, and asserts that nothing is left.
    async fn end(mut self) {
        let seed = self.seed;
        end_calls(&mut self.processes, seed).await;
        let full = async {
            loop {
                let status = self.processes[0].limits.status("limit").await;
                let bucket = status.map(|status| status.bucket);
                let tokens = bucket.map(|bucket| bucket.map(|bucket| bucket.tokens));
                if tokens.is_ok_and(|tokens| tokens.is_none_or(|n| n == u64::from(self.burst))) {
                    return;
                }
                sleep(ms(10)).await;
            }
        };
        let stuck = timeout(TOO_LONG, full).await.is_err();
        assert!(!stuck, "seed {seed}: a token is stuck");
        self.assert_bounded();
    }

    /// Asserts that the starts in each window are bounded as documented.
    fn assert_bounded(&self) {
        let starts = self.starts.lock().expect("no panic");
        assert!(!starts.is_empty(), "seed {}", self.seed);
        let more = u64::from(self.burst) + u64::from(self.prefetch) * u64::from(self.started);
        for (i, first) in starts.iter().enumerate() {
            for (count, last) in (1..).zip(&starts[i..]) {
                let window = *last - *first;
                let micros = u64::try_from((window + DELAY).as_micros()).expect("a short test");
                let bound = more + micros.div_ceil(1_000 * self.every);
                let seed = self.seed;
                assert!(
                    count <= bound,
                    "seed {seed}: {count} of {bound} in {window:?}"
                );
            }
        }
    }
}

#[test]
fn closed_rate_is_never_exceeded_and_nothing_is_stuck() {
    simulate(|server, seed| async move {
        let mut world = World::start(server, seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.end().await;
    });
}
