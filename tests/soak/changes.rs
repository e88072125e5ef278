//! Limits that change at random while calls run and wait, and their last settings.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use governor::Quota;
use tokio::time::sleep;
use toolbooth::breaker::BreakerState;
use toolbooth::{
    BreakerPolicy, CallContext, CircuitBreakerLayer, ConcurrencyLimitLayer, Name, Order, PerTool,
    RateLimitLayer,
};

use super::toolbox::{TENANTS, TOOLS};

/// The layers that change, and the settings of each.
pub(crate) struct Limits {
    pub(crate) rate: RateLimitLayer,
    pub(crate) by_tenant: ConcurrencyLimitLayer,
    pub(crate) shared: ConcurrencyLimitLayer,
    pub(crate) by_tool: ConcurrencyLimitLayer,
    pub(crate) breaker: CircuitBreakerLayer,
    /// The factor by which all times are shorter than in the simulated hour.
    faster: u32,
    settings: Mutex<Settings>,
    states: Arc<States>,
}

struct Settings {
    /// The burst.
    rate: Setting<u32>,
    by_tenant: Setting<usize>,
    shared: usize,
    by_tool: Setting<usize>,
    /// How often each kind of change occurred.
    changes: [u32; KINDS],
}

/// The setting of all keys, and of those with their own.
struct Setting<T> {
    default: T,
    keys: HashMap<String, T>,
}

/// The last notified state of each breaker, and how often a change did not follow from it.
#[derive(Default)]
struct States {
    last: Mutex<HashMap<Name, BreakerState>>,
    gaps: AtomicU64,
}

const KINDS: usize = 13;

/// More than there are, but an idle key is evicted after a second or two.
const KEYS: usize = 1_000;

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or_default().into()
}

pub(crate) fn tool_name(tool: u64) -> String {
    format!("tool {tool}")
}

pub(crate) fn tenant_name(tenant: u64) -> String {
    format!("tenant {tenant}")
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(faster: u32) -> Self {
        let scaled = |time: Duration| time / faster;
        let (rate, shared, by_tenant, by_tool) = (10, 20, 6, 2);
        let idle = scaled(Duration::from_secs(1));
        let policy = BreakerPolicy::new()
            .with_open_time(scaled(Duration::from_secs(30)))
            .with_half_open_limit(scaled(Duration::from_secs(30)))
            .expect("it is not 0");
        let breaker = CircuitBreakerLayer::per_tool(policy);
        let states = Arc::new(States::default());
        let notified = Arc::clone(&states);
        breaker.on_state_change(move |change| {
            let key = change.key.clone().expect("a key for each tool");
            let mut states = notified.last.lock().expect("no panic under it");
            let before = states.insert(key, change.to);
            let gap = before.is_some_and(|before| before != change.from);
            notified.gaps.fetch_add(gap.into(), Ordering::Relaxed);
        });
        Self {
            rate: RateLimitLayer::by(quota(faster, 2, rate), tenant)
                .with_max_wait(scaled(Duration::from_secs(5)))
                .with_key_bounds(KEYS, idle),
            by_tenant: ConcurrencyLimitLayer::by(by_tenant, tenant)
                .with_queue_capacity(8)
                .with_key_bounds(KEYS, idle),
            shared: ConcurrencyLimitLayer::new(shared)
                .with_order(Order::priority().with_aging(scaled(Duration::from_secs(10))))
                .with_queue_capacity(64),
            by_tool: ConcurrencyLimitLayer::per_tool(PerTool::new(by_tool))
                .with_queue_capacity(2)
                .with_key_bounds(KEYS, idle),
            breaker,
            faster,
            settings: Mutex::new(Settings {
                rate: Setting::new(rate),
                by_tenant: Setting::new(by_tenant),
                shared,
                by_tool: Setting::new(by_tool),
                changes: [0; KINDS],
            }),
            states,
        }
    }

    /// Makes a random change.
    pub(crate) fn change(&self, random: &mut Rng) {
        let kind = random.usize(..KINDS);
        let tool = tool_name(random.u64(..TOOLS));
        let tenant = tenant_name(random.u64(..TENANTS));
        let burst = random.u32(1..20);
        let quota = quota(self.faster, random.u32(1..5), burst);
        let settings = &mut *self.settings.lock().expect("no panic under it");
        settings.changes[kind] += 1;
        match kind {
            0 => {
                settings.shared = random.usize(5..40);
                self.shared.set_limit(settings.shared)
            }
            1 => {
                settings.by_tool.default = random.usize(1..4);
                self.by_tool.set_limit(settings.by_tool.default)
            }
            2 => {
                let limit = random.usize(1..4);
                settings.by_tool.keys.insert(tool.clone(), limit);
                self.by_tool.set_limit_for(tool, limit)
            }
            3 => {
                settings.by_tenant.default = random.usize(1..10);
                self.by_tenant.set_limit(settings.by_tenant.default)
            }
            4 => {
                let limit = random.usize(1..10);
                settings.by_tenant.keys.insert(tenant.clone(), limit);
                self.by_tenant.set_limit_for(tenant, limit)
            }
            5 => {
                settings.rate.default = burst;
                self.rate.set_quota(quota)
            }
            6 => {
                settings.rate.keys.insert(tenant.clone(), burst);
                self.rate.set_quota_for(tenant, quota)
            }
            kind => {
                // The breakers of all tools, or of one.
                let all = (kind - 7) / 3 == 0;
                let breaker = match all {
                    true => self.breaker.clone(),
                    false => self.breaker.breaker_for(tool).expect("there is room"),
                };
                match (kind - 7) % 3 {
                    0 => breaker.trip(),
                    1 => breaker.disable(),
                    _ => breaker.reset(),
                }
                Ok(())
            }
        }
        .expect("the layers have limits, and none is 0");
    }

    pub(crate) fn every_change_occurred(&self) -> bool {
        let settings = self.settings.lock().expect("no panic under it");
        settings.changes.iter().all(|times| *times > 0)
    }

    /// Asserts that everything is released, as of the last settings, that no call waits, and that
    /// listeners were notified of the state of each breaker.
    pub(crate) async fn assert_idle(&self) {
        // The last tokens refill.
        sleep(self.rate.reset_after()).await;
        let settings = self.settings.lock().expect("no panic under it");
        assert_eq!(self.shared.available(), settings.shared);
        for tool in (0..TOOLS).map(tool_name) {
            let limit = settings.by_tool.of(&tool);
            assert_eq!(self.by_tool.available_for(&tool), limit, "{tool}");
        }
        for tenant in (0..TENANTS).map(tenant_name) {
            let limit = settings.by_tenant.of(&tenant);
            assert_eq!(self.by_tenant.available_for(&tenant), limit, "{tenant}");
            let burst = settings.rate.of(&tenant);
            assert_eq!(self.rate.remaining_for(&tenant), burst, "{tenant}");
        }
        assert_eq!(self.rate.queued(), 0);
        for limit in [&self.by_tenant, &self.shared, &self.by_tool] {
            assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
        }
        let last = self.states.last.lock().expect("no panic under it").clone();
        for (tool, state) in last {
            let breaker = self.breaker.breaker_for(tool.clone());
            // If its open time has passed, `state` notifies the listeners first.
            let now = breaker.expect("there is room").state();
            let last = self.states.last.lock().expect("no panic under it");
            assert_eq!(last.get(&tool), Some(&now), "{tool}, {state:?} before");
        }
        assert_eq!(self.states.gaps.load(Ordering::Relaxed), 0);
    }
}

fn quota(faster: u32, in_a_second: u32, burst: u32) -> Quota {
    let rate = NonZeroU32::new(in_a_second * faster).expect("not 0");
    let burst = NonZeroU32::new(burst).expect("not 0");
    Quota::per_second(rate).allow_burst(burst)
}

// === impl Setting ===

impl<T: Copy> Setting<T> {
    fn new(default: T) -> Self {
        Self {
            default,
            keys: HashMap::new(),
        }
    }

    fn of(&self, key: &str) -> T {
        self.keys.get(key).copied().unwrap_or(self.default)
    }
}
