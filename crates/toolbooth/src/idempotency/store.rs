//! The keys, and the responses that are stored for them.
//!
//! Invariants:
//! 1. A key has one slot, from its first call until the response is removed, or until the last
//!    claim of a slot without a response is dropped.
//! 2. The slot of a call that runs, or is waited for, is never removed.
//! 3. The slots with a response are in the order in which they expire: all live equally long.
//! 4. Lock order: a slot, then the store. Responses are dropped without the lock of the store.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use toolbooth_core::{CallContext, Collected, LimitId, Moment, Name, OverloadReason, ToolError};

/// The bounds of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) lifetime: Duration,
    pub(super) keys: usize,
    pub(super) bytes: usize,
    pub(super) response_bytes: usize,
}

/// What clones of a layer share.
pub(super) struct Shared {
    pub(super) bounds: Bounds,
    hasher: RandomState,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    slots: HashMap<Key, Arc<Slot>>,
    expiries: VecDeque<Expiry>,
    bytes: usize,
}

/// A key of a call: it belongs to a tool and a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tool: Name,
    tenant: Option<Name>,
    key: Name,
}

/// The calls of one key.
struct Slot {
    /// By which a call finds out whether it is inside of the call that runs.
    id: LimitId,
    /// The hash of the arguments.
    arguments: u64,
    /// The claims of the slot. Changes under the lock of the store alone. The handles of the slot
    /// are no count: a claim releases its own after it has released that lock.
    claims: AtomicUsize,
    has_response: AtomicBool,
    /// Locked by the call that runs. The others wait for the lock, in FIFO order.
    response: Arc<AsyncMutex<Option<Stored>>>,
}

/// What is stored of a call that succeeded.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    Response(Collected),
    TooLarge,
}

/// A slot with a response, which is removed when it expires.
struct Expiry {
    expires: Option<Moment>,
    key: Key,
    bytes: usize,
}

/// The right to run the call of a slot.
pub(super) type Lead = OwnedMutexGuard<Option<Stored>>;

/// A call that uses a slot.
pub(super) struct Claim {
    shared: Arc<Shared>,
    key: Key,
    slot: Arc<Slot>,
}

const MAX_KEY_BYTES: usize = 256;

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            keys: 10_000,
            bytes: 64 << 20,
            response_bytes: 1 << 20,
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: RandomState::new(),
            store: Mutex::default(),
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.lock().slots.len()
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Store ===

impl Store {
    /// Removes the slots that have expired, and the oldest ones beyond the bounds. Returns them, to
    /// be dropped without the lock.
    fn make_room(&mut self, bounds: &Bounds, new_keys: usize, now: Moment) -> Vec<Arc<Slot>> {
        let mut removed = Vec::new();
        while let Some(oldest) = self.expiries.front() {
            let is_over = oldest.expires.is_some_and(|expires| expires <= now);
            let is_full = self.slots.len() + new_keys > bounds.keys || self.bytes > bounds.bytes;
            if !(is_over || is_full) {
                break;
            }
            self.bytes -= oldest.bytes;
            removed.extend(self.slots.remove(&oldest.key));
            self.expiries.pop_front();
        }
        removed
    }
}

// === impl Claim ===

impl Claim {
    /// Claims the slot of a call that has an idempotency key.
    pub(super) fn new(
        shared: &Arc<Shared>,
        context: &CallContext,
        key: &str,
        arguments: &impl Hash,
        now: Moment,
    ) -> Result<Self, ToolError> {
        if key.len() > MAX_KEY_BYTES {
            let bytes = key.len();
            let message = format!("it may have {MAX_KEY_BYTES} bytes, and has {bytes}");
            return Err(ToolError::invalid_arguments("idempotency key", message));
        }
        let arguments = shared.hasher.hash_one(arguments);
        let key = Key {
            tool: Name::from(context.tool()),
            tenant: context.tenant().map(Name::from),
            key: Name::from(key),
        };
        // Declared before the lock: dropped after it.
        let mut removed = Vec::new();
        let mut store = shared.lock();
        removed.extend(store.make_room(&shared.bounds, 0, now));
        let slot = match store.slots.get(&key) {
            Some(slot) => Arc::clone(slot),
            None => {
                removed.extend(store.make_room(&shared.bounds, 1, now));
                let max = shared.bounds.keys;
                if store.slots.len() >= max {
                    return Err(ToolError::overloaded(OverloadReason::too_many_keys(max)));
                }
                let slot = Arc::new(Slot {
                    id: LimitId::unique(),
                    arguments,
                    claims: AtomicUsize::new(0),
                    has_response: AtomicBool::new(false),
                    response: Arc::default(),
                });
                store.slots.insert(key.clone(), Arc::clone(&slot));
                slot
            }
        };
        slot.claims.fetch_add(1, Ordering::Relaxed);
        drop(store);
        drop(removed);
        let claim = Self {
            shared: Arc::clone(shared),
            key,
            slot,
        };
        match claim.slot.arguments == arguments {
            true => Ok(claim),
            false => Err(ToolError::invalid_arguments(
                "idempotency key",
                "it was used with other arguments",
            )),
        }
    }

    pub(super) fn id(&self) -> LimitId {
        self.slot.id
    }

    pub(super) fn max_response_bytes(&self) -> usize {
        self.shared.bounds.response_bytes
    }

    /// Locks the slot if no other call runs or waits.
    pub(super) fn try_lead(&self) -> Option<Lead> {
        Arc::clone(&self.slot.response).try_lock_owned().ok()
    }

    /// Waits until no other call of the slot runs.
    pub(super) fn wait(&self) -> impl Future<Output = Lead> + Send + 'static + use<> {
        Arc::clone(&self.slot.response).lock_owned()
    }

    /// Stores the response of the call that ran, for the calls that wait and later ones.
    pub(super) fn store_response(&self, lead: &mut Lead, stored: Stored, bytes: usize) {
        let now = Moment::now();
        let shared = &self.shared;
        **lead = Some(stored);
        self.slot.has_response.store(true, Ordering::Release);
        let mut store = shared.lock();
        store.bytes += bytes;
        store.expiries.push_back(Expiry {
            expires: now.after(shared.bounds.lifetime),
            key: self.key.clone(),
            bytes,
        });
        let removed = store.make_room(&shared.bounds, 0, now);
        drop(store);
        drop(removed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut store = self.shared.lock();
        let is_last = self.slot.claims.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && !self.slot.has_response.load(Ordering::Acquire) {
            store.slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use toolbooth_core::ToolCall;

    use super::*;

    #[test]
    fn key_is_removed_with_its_last_claim_even_if_another_thread_still_has_the_slot() {
        let shared = Arc::new(Shared::new(Bounds::default()));
        let call = ToolCall::new("pay", Value::Null);
        let claim = || Claim::new(&shared, call.context(), "order 7", &1, Moment::now());
        let (one, other) = (claim().unwrap(), claim().unwrap());
        // As a claim that is dropped at the same time, between its two steps.
        let _slot = Arc::clone(&one.slot);
        drop(one);
        assert_eq!(shared.keys(), 1);
        drop(other);
        assert_eq!(shared.keys(), 0);
    }
}
