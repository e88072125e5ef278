//! Processes that call, drop, die and lose the server in random order, in real time.
//!
//! The same is simulated with 500 seeds and a store in memory in `toolbooth`, on a paused clock.
//! The number of seeds here is that of `SIMULATION_SEEDS`, or 200.

mod permits;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;
use toolbooth::ToolCall;
use toolbooth::shared::{SharedOptions, WhenAway};
use toolbooth_redis::{RedisOptions, RedisStore, SharedLimits};
use toolbooth_test::BoxTool;
use tower::ServiceExt;

use crate::proxy::Proxy;
use crate::server::Server;

const LEASE: Duration = Duration::from_millis(300);
/// How many seeds run at once: each waits most of its time.
const AT_ONCE: usize = 40;
/// Longer than any call of a test that passes waits.
const TOO_LONG: Duration = Duration::from_secs(20);

/// `SplitMix64` (Steele, Lea, Flood, 2014).
struct Random(u64);

/// A process with a network of its own, and its calls.
struct Process {
    proxy: Proxy,
    limits: SharedLimits,
    tool: BoxTool,
    calls: JoinSet<()>,
}

// === impl Random ===

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn below_u32(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("below a u32")
    }

    fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }
}

// === impl Process ===

impl Process {
    async fn start(
        server: &Server,
        seed: u64,
        limited: impl FnOnce(&SharedLimits) -> BoxTool,
    ) -> Self {
        let proxy = Proxy::start(server, Duration::ZERO);
        let redis = RedisOptions::new().with_prefix(format!("seed{seed}"));
        let store = RedisStore::connect_with(&proxy.url(), redis).await;
        let options = SharedOptions::new()
            .with_when_away(WhenAway::Closed)
            .with_lease(LEASE);
        let limits = SharedLimits::new(store.expect("a valid URL"), options);
        Self {
            tool: limited(&limits),
            proxy,
            limits,
            calls: JoinSet::new(),
        }
    }

    fn call(&mut self, takes: u64, patience: Duration) {
        let call = ToolCall::new("tool", json!(takes));
        let call = self.tool.clone().oneshot(call);
        self.calls.spawn(async move {
            let _ = timeout(patience, call).await;
        });
    }

    /// Dies. No command of it arrives any more.
    fn kill(self) {
        self.proxy.set_partitioned(true);
    }

    /// Ends. Its last commands arrive by its network.
    fn end(self) -> Proxy {
        self.proxy
    }
}

/// Ends all partitions, and asserts that all calls end.
async fn end_calls(processes: &mut [Process], seed: u64) {
    for process in &*processes {
        process.proxy.set_partitioned(false);
    }
    for process in processes {
        let calls = async { while process.calls.join_next().await.is_some() {} };
        let stuck = timeout(TOO_LONG, calls).await.is_err();
        assert!(!stuck, "seed {seed}: a call is stuck");
    }
}

/// Runs a world for each seed on one server, several at once.
fn simulate<F: Future<Output = ()> + Send + 'static>(world: fn(Arc<Server>, u64) -> F) {
    let seeds = std::env::var("SIMULATION_SEEDS").ok();
    let seeds: u64 = seeds.map_or(200, |seeds| seeds.parse().expect("a number"));
    let server = Arc::new(Server::start());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut worlds = JoinSet::new();
        for seed in 0..seeds {
            if worlds.len() == AT_ONCE {
                worlds
                    .join_next()
                    .await
                    .expect("a world")
                    .expect("a world that holds");
            }
            worlds.spawn(world(Arc::clone(&server), seed));
        }
        while let Some(world) = worlds.join_next().await {
            world.expect("a world that holds");
        }
    });
}
