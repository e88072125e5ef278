use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbooth::Name;
use toolbooth::shared::{
    Heartbeat, Holder, LimitStore, Notify, PermitsUpdated, ReturnTokens, StoreError, StoreFuture,
    TakeTokens, TokensTaken, UpdatePermits,
};

use self::bucket::Bucket;
use self::permits::{Permits, micros};
use crate::sync::lock;

mod bucket;
mod permits;

/// A store of shared limits in memory, with faults on request.
///
/// It is the reference of what a [`LimitStore`] does, on tokio's clock. Clones share the state:
/// give one to each [`SharedStore`](toolbooth::shared::SharedStore), which then stands for a
/// process.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::ConcurrencyLimitLayer;
/// use toolbooth::shared::{SharedOptions, SharedStore};
/// use toolbooth_test::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let store = MemoryStore::new();
/// let process = || SharedStore::new(store.clone(), SharedOptions::new());
/// let one = ConcurrencyLimitLayer::new(10).with_store(&process(), "github");
/// let other = ConcurrencyLimitLayer::new(10).with_store(&process(), "github");
/// store.set_delay(Duration::from_millis(5));
/// # drop((one, other));
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<State>>,
    started: Instant,
}

struct State {
    data: Data,
    faults: Faults,
    /// How many commands were executed.
    commands: u64,
    notify: HashMap<Name, Notify>,
    /// The processes whose commands do not arrive.
    unreachable: BTreeSet<Name>,
}

/// What the store remembers.
#[derive(Debug, Clone, Default)]
struct Data {
    permits: BTreeMap<Name, Permits>,
    buckets: BTreeMap<Name, Bucket>,
    processes: BTreeMap<Name, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// How long a command takes, half of it each way.
    delay: Duration,
    is_away: bool,
    /// Executes commands, and loses their replies.
    loses_replies: bool,
    loses_notifications: bool,
}

/// What a store remembered at a moment. See [`MemoryStore::snapshot`].
#[derive(Debug, Clone)]
pub struct StoreSnapshot(Data);

// === impl MemoryStore ===

impl MemoryStore {
    /// Creates an empty store whose replies come at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Mutex::new(State {
                data: Data::default(),
                faults: Faults::default(),
                commands: 0,
                notify: HashMap::new(),
                unreachable: BTreeSet::new(),
            })),
            started: Instant::now(),
        }
    }

    /// Sets how long a command takes, from the call to the reply: zero by default. It is executed
    /// in the middle of that time.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.shared).faults.delay = delay;
    }

    /// Makes the store unreachable, or reachable again. Commands are not executed meanwhile, and no
    /// reply comes to those that are under way.
    pub fn set_away(&self, is_away: bool) {
        lock(&self.shared).faults.is_away = is_away;
    }

    /// Makes the store execute commands without a reply.
    pub fn set_loses_replies(&self, loses: bool) {
        lock(&self.shared).faults.loses_replies = loses;
    }

    /// Makes the store lose notifications.
    pub fn set_loses_notifications(&self, loses: bool) {
        lock(&self.shared).faults.loses_notifications = loses;
    }

    /// Receives no more commands of a process, as behind a partition of the network, or as if it
    /// had been killed. Or receives them again.
    pub fn set_unreachable(&self, process: &str, is_unreachable: bool) {
        let mut state = lock(&self.shared);
        match is_unreachable {
            true => _ = state.unreachable.insert(process.into()),
            false => _ = state.unreachable.remove(process),
        }
    }

    /// Returns the names of the limits that the store knows.
    #[must_use]
    pub fn limits(&self) -> Vec<String> {
        let state = lock(&self.shared);
        let limits = state.data.permits.keys().chain(state.data.buckets.keys());
        limits.map(ToString::to_string).collect()
    }

    /// Forgets everything, as a server that is restarted without its data.
    pub fn clear(&self) {
        lock(&self.shared).data = Data::default();
    }

    /// Returns what the store remembers.
    #[must_use]
    pub fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot(lock(&self.shared).data.clone())
    }

    /// Returns to an earlier state, as a failover to a replica that lags.
    pub fn restore(&self, snapshot: &StoreSnapshot) {
        lock(&self.shared).data = snapshot.0.clone();
    }

    /// Returns how many permits of a limit the store counts as held.
    #[must_use]
    pub fn held(&self, limit: &str) -> u64 {
        let now = self.now();
        let state = lock(&self.shared);
        let permits = state.data.permits.get(limit);
        permits.map_or(0, |permits| permits.held(now))
    }

    /// Returns how many permits of a limit the store counts as held by a process.
    #[must_use]
    pub fn held_by(&self, limit: &str, process: &str) -> u64 {
        let now = self.now();
        let state = lock(&self.shared);
        let permits = state.data.permits.get(limit);
        permits.map_or(0, |permits| permits.held_by(process, now))
    }

    /// Returns how many commands were executed.
    #[must_use]
    pub fn commands(&self) -> u64 {
        lock(&self.shared).commands
    }

    fn now(&self) -> u64 {
        // Not 0, which would be a full bucket's time.
        1_000_000 + micros(self.started.elapsed())
    }

    /// Returns a command that `execute` executes in the middle of the delay.
    fn command<T: Send + 'static>(
        &self,
        execute: impl FnOnce(&mut Data, u64) -> (T, Option<Holder>) + Send + 'static,
    ) -> StoreFuture<T> {
        let store = self.clone();
        Box::pin(async move {
            let delay = lock(&store.shared).faults.delay;
            if !delay.is_zero() {
                sleep(delay / 2).await;
            }
            let reply = store
                .execute(execute)
                .ok_or_else(|| StoreError::new("away"))?;
            if !delay.is_zero() {
                sleep(delay / 2).await;
            }
            let faults = lock(&store.shared).faults;
            match faults.is_away || faults.loses_replies {
                true => std::future::pending().await,
                false => Ok(reply),
            }
        })
    }

    fn execute<T>(&self, execute: impl FnOnce(&mut Data, u64) -> (T, Option<Holder>)) -> Option<T> {
        let now = self.now();
        let mut state = lock(&self.shared);
        if state.faults.is_away {
            return None;
        }
        state.commands += 1;
        state.data.expire(now);
        let (reply, notified) = execute(&mut state.data, now);
        let notified = notified.filter(|_| !state.faults.loses_notifications);
        let notify = notified.and_then(|notified| {
            let notify = state.notify.get(&notified.process)?;
            Some((Arc::clone(notify), notified.number))
        });
        drop(state);
        if let Some((notify, number)) = notify {
            notify(number);
        }
        Some(reply)
    }
}

impl LimitStore for MemoryStore {
    fn take_tokens(&self, request: TakeTokens) -> StoreFuture<TokensTaken> {
        self.command(move |data, now| {
            let bucket = data.buckets.entry(request.limit.clone());
            let bucket = bucket.or_insert_with(|| Bucket::new(&request.quotas));
            (bucket.take(&request, now), None)
        })
    }

    fn return_tokens(&self, request: ReturnTokens) -> StoreFuture<()> {
        self.command(move |data, now| {
            if let Some(bucket) = data.buckets.get_mut(&request.limit) {
                bucket.refund(&request, now);
            }
            ((), None)
        })
    }

    fn update_permits(&self, request: UpdatePermits) -> StoreFuture<PermitsUpdated> {
        if lock(&self.shared)
            .unreachable
            .contains(&request.holder.process)
        {
            return Box::pin(std::future::pending());
        }
        self.command(move |data, now| {
            let permits = data.permits.entry(request.limit.clone());
            let permits = permits.or_insert_with(|| Permits::new(now));
            permits.update(&request, now)
        })
    }

    fn heartbeat(&self, request: Heartbeat) -> StoreFuture<u64> {
        if lock(&self.shared).unreachable.contains(&request.process) {
            return Box::pin(std::future::pending());
        }
        self.command(move |data, now| {
            let expires = now + micros(request.lifetime);
            data.processes.insert(request.process, expires);
            data.processes.retain(|_, expires| *expires > now);
            let processes = data.processes.len();
            (u64::try_from(processes).unwrap_or(u64::MAX), None)
        })
    }

    fn notify_with(&self, process: &Name, notify: Notify) {
        let mut state = lock(&self.shared);
        state.notify.insert(process.clone(), notify);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.shared);
        f.debug_struct("MemoryStore")
            .field("data", &state.data)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

// === impl Data ===

impl Data {
    /// Forgets what has expired.
    fn expire(&mut self, now: u64) {
        self.permits.retain(|_, permits| !permits.is_expired(now));
        self.buckets.retain(|_, bucket| !bucket.is_expired(now));
    }
}
