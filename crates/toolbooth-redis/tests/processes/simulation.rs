//! Processes that call, drop, die and lose the server in random order, in real time.
//!
//! The same is simulated with 500 seeds and a store in memory in `toolbooth`, on a paused clock.
//! The number of seeds here is that of `SIMULATION_SEEDS`, or 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use toolbooth::shared::{SharedOptions, WhenAway};
use toolbooth::{ConcurrencyLimitLayer, ToolCall, tool_fn};
use toolbooth_redis::{RedisOptions, RedisStore, SharedLimits};
use toolbooth_test::{BoxTool, boxed, ms};
use tower::{Layer, ServiceExt};

use crate::proxy::Proxy;
use crate::server::Server;

const LEASE: Duration = Duration::from_millis(300);
const STEPS: usize = 40;
/// How many seeds run at once: each waits most of its time.
const AT_ONCE: u64 = 8;
/// Longer than any call of a test that passes waits.
const TOO_LONG: Duration = Duration::from_secs(20);

/// `SplitMix64` (Steele, Lea, Flood, 2014).
struct Random(u64);

/// Counts the calls that run at once.
#[derive(Clone, Default)]
struct Running {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A call that runs, until it is dropped.
struct Run(Running);

/// A process with a network of its own, and its calls.
struct Process {
    proxy: Proxy,
    limits: SharedLimits,
    tool: BoxTool,
    calls: JoinSet<()>,
}

struct World {
    seed: u64,
    random: Random,
    running: Running,
    permits: usize,
    processes: Vec<Process>,
}

// === impl Random ===

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }
}

// === impl Running ===

impl Running {
    fn start(&self) -> Run {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Run(self.clone())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl World ===

impl World {
    async fn start(server: &Server, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut world = Self {
            seed,
            permits: 1 + random.below_usize(4),
            random,
            running: Running::default(),
            processes: Vec::new(),
        };
        for _ in 0..2 + world.random.below(2) {
            let process = world.process(server).await;
            world.processes.push(process);
        }
        world
    }

    async fn process(&self, server: &Server) -> Process {
        let proxy = Proxy::start(server, Duration::ZERO);
        let redis = RedisOptions::new().with_prefix(format!("seed{}", self.seed));
        let store = RedisStore::connect_with(&proxy.url(), redis).await;
        let options = SharedOptions::new()
            .with_when_away(WhenAway::Closed)
            .with_lease(LEASE);
        let limits = SharedLimits::new(store.expect("a valid URL"), options);
        let running = self.running.clone();
        let tool = tool_fn("tool", move |millis: u64| {
            let running = running.clone();
            async move {
                let _run = running.start();
                sleep(ms(millis)).await;
                Ok::<_, std::convert::Infallible>("done")
            }
        });
        let layer = ConcurrencyLimitLayer::new(self.permits);
        Process {
            tool: boxed(limits.concurrency("limit", layer).layer(tool)),
            proxy,
            limits,
            calls: JoinSet::new(),
        }
    }

    /// Calls, drops, kills, or changes the network.
    async fn step(&mut self) {
        let chosen = self.random.below_usize(self.processes.len());
        let process = &mut self.processes[chosen];
        match self.random.below(20) {
            0..11 => {
                let takes = self.random.below(60);
                // Some are dropped at any moment.
                let patience = match self.random.below(3) {
                    0 => ms(self.random.below(60)),
                    _ => Duration::MAX,
                };
                let call = ToolCall::new("tool", json!(takes));
                let call = process.tool.clone().oneshot(call);
                process.calls.spawn(async move {
                    let _ = timeout(patience, call).await;
                });
            }
            // Replies are late or lost. A longer partition outlives the lease.
            11 => process.proxy.set_partitioned(true),
            12 | 13 => process.proxy.set_partitioned(false),
            14 if self.processes.len() > 1 => {
                let killed = self.processes.swap_remove(chosen);
                killed.proxy.set_partitioned(true);
                drop(killed);
            }
            15 => sleep(ms(self.random.below(450))).await,
            _ => sleep(ms(self.random.below(40))).await,
        }
    }

    /// Ends all faults, waits for all calls, and asserts that nothing is left.
    async fn end(mut self) {
        let seed = self.seed;
        for process in &mut self.processes {
            process.proxy.set_partitioned(false);
        }
        for process in &mut self.processes {
            let calls = async { while process.calls.join_next().await.is_some() {} };
            let stuck = timeout(TOO_LONG, calls).await.is_err();
            assert!(!stuck, "seed {seed}: a call is stuck");
        }
        let free = async {
            loop {
                let status = self.processes[0].limits.status("limit").await;
                if status.is_ok_and(|status| status.holders.is_empty()) {
                    return;
                }
                sleep(ms(10)).await;
            }
        };
        let stuck = timeout(TOO_LONG, free).await.is_err();
        assert!(!stuck, "seed {seed}: a permit is stuck");
        let most = self.running.most.load(Ordering::SeqCst);
        let permits = self.permits;
        assert!(most <= permits, "seed {seed}: {most} of {permits} at once");
    }
}

#[test]
fn closed_limit_is_never_exceeded_and_nothing_is_stuck() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok();
    let seeds: u64 = seeds.map_or(200, |seeds| seeds.parse().expect("a number"));
    let server = Arc::new(Server::start());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for first in (0..seeds).step_by(usize::try_from(AT_ONCE).expect("a small number")) {
            let mut worlds = JoinSet::new();
            for seed in first..seeds.min(first + AT_ONCE) {
                let server = Arc::clone(&server);
                worlds.spawn(async move {
                    let mut world = World::start(&server, seed).await;
                    for _ in 0..STEPS {
                        world.step().await;
                    }
                    world.end().await;
                });
            }
            while let Some(world) = worlds.join_next().await {
                world.expect("a world that holds");
            }
        }
    });
}
