//! Processes that call, drop, die and lose their store in random order, on a paused clock.
//!
//! The number of seeds is that of `SIMULATION_SEEDS`, or 500.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use toolbooth::shared::{SharedOptions, SharedStore, WhenAway};
use toolbooth::{Quota, RateLimitLayer};
use toolbooth_test::{BoxTool, MemoryStore, StoreSnapshot, boxed, ms};
use tower::Layer;

use crate::support::{Witness, limited, run};

const LEASE: Duration = Duration::from_secs(3);

/// `SplitMix64` (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn below_u32(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).unwrap_or(0)
    }

    fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }
}

/// A process and its calls.
struct Process {
    store: SharedStore,
    tool: BoxTool,
    calls: JoinSet<bool>,
}

struct World {
    random: Random,
    store: MemoryStore,
    /// A replica that lags.
    replica: StoreSnapshot,
    witness: Witness,
    processes: Vec<Process>,
    /// How many calls ended without an outcome.
    stuck: usize,
    /// How many permits processes have left behind.
    left: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        Self {
            random: Random(seed),
            replica: store.snapshot(),
            store,
            witness: Witness::default(),
            processes: Vec::new(),
            stuck: 0,
            left: 0,
        }
    }

    fn start_process(
        &mut self,
        when_away: WhenAway,
        tool: impl Fn(&SharedStore, &Witness) -> BoxTool,
    ) {
        let options = SharedOptions::new()
            .with_lease(LEASE)
            .with_when_away(when_away);
        let store = SharedStore::new(self.store.clone(), options);
        let tool = tool(&store, &self.witness);
        let calls = JoinSet::new();
        self.processes.push(Process { store, tool, calls });
    }

    /// Calls, drops, or changes the faults of the store.
    async fn step(&mut self, can_lose_data: bool) {
        let chosen = self.random.below_usize(self.processes.len());
        let process = &mut self.processes[chosen];
        match self.random.below(24) {
            0..12 => {
                let tool = process.tool.clone();
                let takes = match self.random.below(4) {
                    0 => self.random.below(8_000),
                    _ => self.random.below(400),
                };
                // Some are dropped at any moment.
                let patience = match self.random.below(3) {
                    0 => ms(self.random.below(300)),
                    _ => Duration::from_secs(3_600),
                };
                process.calls.spawn(async move {
                    let call = run(tool, takes);
                    timeout(patience, call).await.is_ok() || patience < Duration::from_secs(1)
                });
            }
            12..14 => self.store.set_delay(ms(self.random.below(90))),
            14 => self.store.set_delay(Duration::ZERO),
            15 => self
                .store
                .set_loses_notifications(self.random.below(2) == 0),
            16 => self.store.set_loses_replies(self.random.below(2) == 0),
            17 => self.store.set_away(self.random.below(2) == 0),
            // Longer than a lease, at times.
            21 => {
                let process = process.store.process().to_owned();
                let unreachable = self.random.below(2) == 0;
                self.store.set_unreachable(&process, unreachable);
                sleep(ms(self.random.below(3_000))).await;
            }
            20 => {
                self.store.set_away(true);
                sleep(ms(self.random.below(6_000))).await;
                self.store.set_away(false);
            }
            18 if can_lose_data => self.store.clear(),
            22 => self.replica = self.store.snapshot(),
            23 if can_lose_data => self.store.restore(&self.replica),
            19 if self.processes.len() > 1 => {
                // Killed: its calls are gone, and no command of it arrives any more.
                let killed = self.processes.swap_remove(chosen);
                self.store.set_unreachable(killed.store.process(), true);
                drop(killed);
            }
            _ => sleep(ms(self.random.below(700))).await,
        }
    }

    /// Ends all faults, and waits for all calls.
    async fn wait_for_all(&mut self) {
        self.store.set_delay(ms(5));
        self.store.set_loses_notifications(false);
        self.store.set_loses_replies(false);
        self.store.set_away(false);
        for process in &mut self.processes {
            self.store.set_unreachable(process.store.process(), false);
        }
        for process in &mut self.processes {
            let calls = async {
                while let Some(ended) = process.calls.join_next().await {
                    assert!(ended.is_ok_and(|ended| ended));
                }
            };
            if timeout(Duration::from_secs(600), calls).await.is_err() {
                self.stuck += process.calls.len();
            }
        }
        // Before a lease ends, soon after the next probe, the store knows that nothing is held.
        sleep(ms(1_300)).await;
        for process in &self.processes {
            self.left += self.store.held_by("limit", process.store.process());
        }
        sleep(LEASE * 3).await;
    }
}

fn seeds() -> u64 {
    let seeds = std::env::var("SIMULATION_SEEDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(500)
}

fn simulate<F: Future<Output = ()>>(seed: u64, run: impl FnOnce(u64) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(run(seed));
}

/// Nothing that happens to processes and store lets more calls run at once under `Closed`, and no
/// call or permit is stuck.
#[test]
fn closed_limit_is_never_exceeded_and_nothing_is_stuck() {
    for seed in 0..seeds() {
        simulate(seed, |seed| async move {
            let mut world = World::new(seed);
            let limit = 1 + world.random.below_usize(4);
            for _ in 0..2 + world.random.below(3) {
                world.start_process(WhenAway::Closed, |store, witness| {
                    limited(store, witness, limit)
                });
            }
            for _ in 0..60 {
                world.step(false).await;
            }
            world.wait_for_all().await;
            let most = world.witness.most();
            assert!(
                most <= limit as u64,
                "seed {seed}: {most} of {limit} at once"
            );
            assert_eq!((world.stuck, world.left), (0, 0), "seed {seed}");
            assert_eq!(world.store.held("limit"), 0, "seed {seed}");
        });
    }
}

/// After all that, also after lost data, every call ends, and every permit is free.
#[test]
fn local_and_open_limits_recover_from_everything() {
    for seed in 0..seeds() {
        simulate(seed, |seed| async move {
            let mut world = World::new(seed);
            let when_away = match world.random.below(2) {
                0 => WhenAway::Local,
                _ => WhenAway::Open,
            };
            for _ in 0..2 + world.random.below(3) {
                world.start_process(when_away, |store, witness| limited(store, witness, 2));
            }
            for _ in 0..60 {
                world.step(true).await;
            }
            world.wait_for_all().await;
            assert_eq!((world.stuck, world.left), (0, 0), "seed {seed}");
            assert_eq!(world.store.held("limit"), 0, "seed {seed}");
            // The limit holds again.
            let before = Witness::default();
            for process in &mut world.processes {
                let tool = limited(&process.store, &before, 2);
                for _ in 0..3 {
                    let tool = tool.clone();
                    process
                        .calls
                        .spawn(async move { run(tool, 20).await.is_ok() });
                }
            }
            world.wait_for_all().await;
            assert_eq!(before.most(), 2, "seed {seed}");
        });
    }
}

/// Starts in each window are bounded as documented, and no call is stuck.
#[test]
fn closed_rate_is_never_exceeded_and_nothing_is_stuck() {
    for seed in 0..seeds() {
        simulate(seed, |seed| async move {
            let mut world = World::new(seed);
            let burst = 1 + world.random.below_u32(5);
            let every = 5 + world.random.below(40);
            let prefetch = world.random.below_u32(3);
            let processes = 2 + world.random.below(3);
            for _ in 0..processes {
                world.start_process(WhenAway::Closed, |store, witness| {
                    let burst = NonZeroU32::new(burst).expect("1 or more");
                    let quota = Quota::with_period(ms(every)).expect("above zero");
                    let rate = RateLimitLayer::new(quota.allow_burst(burst));
                    let store = store.with_prefetch(prefetch);
                    boxed(rate.with_store(&store, "rate").layer(witness.tool()))
                });
            }
            for _ in 0..60 {
                world.step(false).await;
            }
            world.wait_for_all().await;
            assert_eq!(world.stuck, 0, "seed {seed}");
            // A token can be used for 50 ms, and its reply takes up to 50 ms.
            let bound = |window: u128| {
                u128::from(burst)
                    + (window + 100).div_ceil(u128::from(every))
                    + u128::from(processes) * u128::from(prefetch)
            };
            let starts = world.witness.starts();
            for (i, first) in starts.iter().enumerate() {
                for (count, last) in starts[i..].iter().enumerate() {
                    let (count, window) = (count as u128 + 1, last - first);
                    let most = bound(window);
                    assert!(
                        count <= most,
                        "seed {seed}: {count} of {most} in {window} ms"
                    );
                }
            }
        });
    }
}
