use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use toolbooth::{ConcurrencyLimitLayer, tool_fn};
use toolbooth_test::{boxed, ms};
use tower::Layer;

use super::{Process, Random, TOO_LONG, end_calls, simulate};
use crate::server::Server;

const STEPS: usize = 40;

/// Counts the calls that run at once.
#[derive(Clone, Default)]
struct Running {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A call that runs, until it is dropped.
struct Run(Running);

struct World {
    seed: u64,
    random: Random,
    running: Running,
    permits: usize,
    processes: Vec<Process>,
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
        Process::start(server, self.seed, |limits| {
            boxed(limits.concurrency("limit", layer).layer(tool))
        })
        .await
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
                process.call(takes, patience);
            }
            // Replies are late or lost. A longer partition outlives the lease.
            11 => process.proxy.set_partitioned(true),
            12 | 13 => process.proxy.set_partitioned(false),
            14 if self.processes.len() > 1 => self.processes.swap_remove(chosen).kill(),
            15 => sleep(ms(self.random.below(450))).await,
            _ => sleep(ms(self.random.below(40))).await,
        }
    }

    /// Ends all faults, waits for all calls, and asserts that nothing is left.
    async fn end(mut self) {
        let seed = self.seed;
        end_calls(&mut self.processes, seed).await;
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
    simulate(|server, seed| async move {
        let mut world = World::start(&server, seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.end().await;
    });
}
