use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use toolbooth_core::{EventKind, LayerName, LimitChange, Moment, Name};

use super::health::{FIRST_PROBE_PAUSE, Health, MAX_PROBE_PAUSE, Seen};
use super::options::{SharedOptions, WhenAway};
use super::store::{Heartbeat, Holder, LimitStore, StoreError, StoreFuture};
use crate::middleware::sync::{Mutex, lock};

/// A store of shared limits as the limits of this process use it.
///
/// Clones share the connection, and what is known of the store. The tasks that send its commands
/// run on the runtime on which it was created; they end with the last clone and the last limit.
#[derive(Clone)]
pub struct SharedStore {
    pub(crate) link: Arc<Link>,
    pub(crate) prefetch: u32,
}

/// The store, and whether its replies come.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) store: Arc<dyn LimitStore>,
    pub(crate) options: SharedOptions,
    runtime: Handle,
    process: Name,
    health: Health,
    holders: AtomicU64,
    exchanges: Arc<Exchanges>,
    /// Wakes the task that reports the process, so that it probes.
    probe: Arc<Notify>,
}

/// The tasks of the limits, by the number of the holder.
#[derive(Debug, Default)]
struct Exchanges(Mutex<HashMap<u64, Weak<Bell>>>);

/// Wakes the task of a limit.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    pub(crate) changed: Notify,
    /// Counts the notifications of the store.
    pub(crate) notified: AtomicU64,
}

// === impl SharedStore ===

impl SharedStore {
    /// Creates a handle of a store. Nothing is awaited: a store that does not answer counts as
    /// away soon.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(store: impl LimitStore, options: SharedOptions) -> Self {
        // Seeded by the operating system, once for each process.
        let process = RandomState::new().hash_one(std::process::id());
        let process = Name::from(format!("{process:016x}"));
        let exchanges = Arc::new(Exchanges::default());
        let store: Arc<dyn LimitStore> = Arc::new(store);
        let notify = Arc::clone(&exchanges);
        store.notify_with(&process, Arc::new(move |holder| notify.notify(holder)));
        let link = Arc::new(Link {
            store,
            options,
            runtime: Handle::current(),
            process,
            health: Health::new(),
            holders: AtomicU64::new(0),
            exchanges,
            probe: Arc::default(),
        });
        let task = report(
            Arc::downgrade(&link),
            Arc::clone(&link.store),
            link.process.clone(),
        );
        link.runtime.spawn(task);
        Self { link, prefetch: 0 }
    }

    /// Returns a handle of the same store whose rate limits take tokens in advance: up to `tokens`
    /// for each limit. By default they take none.
    ///
    /// A call that finds such a token sends no command. In return, starts in a window of the length
    /// w are bounded by `burst + rate x w + processes x tokens`, instead of `burst + rate x w`.
    #[must_use]
    pub fn with_prefetch(&self, tokens: u32) -> Self {
        Self {
            link: Arc::clone(&self.link),
            prefetch: tokens,
        }
    }

    /// Returns the unique name of this process, as the store knows it.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.link.process
    }

    /// Returns whether the store answers.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.link.is_away()
    }

    /// Returns how many processes use the store, as it last said: 1 or more. One that has ended
    /// counts for a lease.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.link.processes()
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("process", &self.link.process)
            .field("is_away", &self.is_away())
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

// === impl Link ===

impl Link {
    pub(crate) fn is_away(&self) -> bool {
        self.health.is_away()
    }

    /// Returns what holds now for a limit; `None` while the store answers. `is_failing` is whether
    /// the commands of this limit fail.
    pub(crate) fn away(&self, is_failing: bool) -> Option<WhenAway> {
        (is_failing || self.is_away()).then_some(self.options.when_away)
    }

    pub(crate) fn processes(&self) -> u64 {
        self.health.processes()
    }

    /// Returns when a call that is rejected now may try again.
    pub(crate) fn retry_after(&self) -> Duration {
        MAX_PROBE_PAUSE
    }

    pub(crate) fn renew_every(&self) -> Duration {
        self.options.lease / 3
    }

    /// Records that the runtime of the tasks has dropped them: the store is away for ever.
    pub(crate) fn abandon(&self) {
        self.health.set_away();
    }

    /// Registers a holder and its task, which `run` returns.
    pub(crate) fn start<F>(self: &Arc<Self>, bell: &Arc<Bell>, run: impl FnOnce(Holder) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = self.holders.fetch_add(1, Ordering::Relaxed);
        self.exchanges.add(number, bell);
        let run = run(Holder {
            process: self.process.clone(),
            number,
        });
        let exchanges = Arc::clone(&self.exchanges);
        self.runtime.spawn(async move {
            run.await;
            exchanges.remove(number);
        });
    }

    /// Waits for a reply, for a bounded time, and records whether it came. That it did not come is
    /// not recorded of a limit whose commands fail while the store may answer others.
    pub(crate) async fn reply<T>(
        &self,
        command: StoreFuture<T>,
        is_failing: bool,
    ) -> Result<T, StoreError> {
        let limit = self.options.reply_within();
        let reply = match tokio::time::timeout(limit, command).await {
            Ok(reply) => reply,
            Err(_) => Err(StoreError::new(format!("no reply within {limit:?}"))),
        };
        match &reply {
            Ok(_) => self.found(),
            Err(error) if !is_failing => self.failed(error),
            Err(_) => {}
        }
        reply
    }

    fn found(&self) {
        if self.health.record_reply() {
            tracing::info!("the store of shared limits answers again");
            self.report(LimitChange::StoreFound);
        }
    }

    fn failed(&self, error: &StoreError) {
        if self.health.record_failure() {
            let when_away = self.options.when_away;
            tracing::warn!(%error, %when_away, "the store of shared limits is away");
            self.report(LimitChange::StoreLost {
                when_away: when_away.as_str(),
            });
            self.probe.notify_one();
        }
    }

    /// Reports that the commands of a limit fail, with the last error, or that they do not any
    /// more.
    pub(crate) fn report_failing(&self, limit: &Name, error: Option<StoreError>) {
        match error {
            // All limits are without the store.
            Some(_) if self.is_away() => {}
            Some(error) => {
                let when_away = self.options.when_away;
                tracing::warn!(?limit, %error, %when_away, "a shared limit fails in its store");
            }
            None => tracing::info!(?limit, "a shared limit does not fail any more in its store"),
        }
    }

    fn report(&self, change: LimitChange) {
        self.options.events.report(|| EventKind::LimitChanged {
            layer: LayerName::new("store"),
            change,
        });
        self.exchanges.ring();
    }
}

/// Reports the process to the store, again and again, until the last handle is dropped. While the
/// store is away, these are the probes.
async fn report(link: Weak<Link>, store: Arc<dyn LimitStore>, process: Name) {
    let heartbeat = |lifetime| {
        store.heartbeat(Heartbeat {
            process: process.clone(),
            lifetime,
        })
    };
    let (mut pause, mut seen) = (FIRST_PROBE_PAUSE, Seen::default());
    while let Some(link) = link.upgrade() {
        let reply = link.reply(heartbeat(link.options.lease), false).await;
        if let Ok(processes) = reply {
            let processes = seen.record(processes, Moment::now(), link.options.lease);
            if link.health.set_processes(processes) {
                link.exchanges.ring();
            }
        }
        let next = match link.is_away() {
            true => pause,
            false => link.renew_every(),
        };
        pause = match link.is_away() {
            true => (pause * 2).min(MAX_PROBE_PAUSE),
            false => FIRST_PROBE_PAUSE,
        };
        let probe = Arc::clone(&link.probe);
        drop(link);
        let _ = tokio::time::timeout(next, probe.notified()).await;
    }
    // If it is lost, the report ends by itself.
    let _ = tokio::time::timeout(MAX_PROBE_PAUSE, heartbeat(Duration::ZERO)).await;
}

// === impl Exchanges ===

impl Exchanges {
    fn add(&self, holder: u64, bell: &Arc<Bell>) {
        let mut bells = lock(&self.0);
        bells.insert(holder, Arc::downgrade(bell));
    }

    fn remove(&self, holder: u64) {
        let mut bells = lock(&self.0);
        bells.remove(&holder);
    }

    /// Wakes the task of a holder that may acquire permits now.
    fn notify(&self, holder: u64) {
        let bells = lock(&self.0);
        let bell = bells.get(&holder).and_then(Weak::upgrade);
        drop(bells);
        if let Some(bell) = bell {
            bell.notified.fetch_add(1, Ordering::SeqCst);
            bell.changed.notify_one();
        }
    }

    /// Wakes all tasks.
    fn ring(&self) {
        let bells = lock(&self.0);
        let all: Vec<_> = bells.values().filter_map(Weak::upgrade).collect();
        drop(bells);
        all.iter().for_each(|bell| bell.changed.notify_one());
    }
}
