//! What a store of shared limits must do: four commands, and a notification.
//!
//! All times are relative to the clock of the store, which alone compares them. So the clocks of
//! the processes may differ.

#![expect(
    clippy::exhaustive_structs,
    reason = "a store makes the replies, and its tests the commands"
)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{BoxError, Name};

/// A store that keeps limits for several processes, such as a Redis server.
///
/// Each command takes effect as a whole, or not at all. A command may be executed although its
/// future failed or was dropped: the callers are made for that. The commands of one limit are sent
/// in order, and may arrive in another one.
///
/// Nothing that is written may stay for ever. The permits of a limit disappear soon after the last
/// lease, and a bucket does once it is full. A limit that was [set](SetLimit::Always) is
/// remembered for a day.
pub trait LimitStore: fmt::Debug + Send + Sync + 'static {
    /// Takes tokens of a bucket, by the generic cell rate algorithm (ITU-T I.371, annex A) for each
    /// of its quotas: of all of them, or of none.
    ///
    /// Takes [`least`](TakeTokens::least) tokens if these are available within
    /// [`max_wait`](TakeTokens::max_wait), otherwise none. Then takes more, one by one, up to
    /// [`most`](TakeTokens::most) in all, as long as each is available within
    /// [`horizon`](TakeTokens::horizon).
    ///
    /// Tokens that are taken before they are available are reserved: no other process gets them.
    ///
    /// With several quotas, tokens are available when all quotas have them, and each quota counts
    /// them from then on. More than `least` are taken only if they are available now.
    ///
    /// A [`charge`](TakeTokens::charge) takes `least` tokens in any case, of each quota from now
    /// on. The debt is at most a full bucket then, or what it was before.
    fn take_tokens(&self, request: TakeTokens) -> StoreFuture<TokensTaken>;

    /// Returns tokens that were not used.
    ///
    /// Tokens that no other were reserved behind go back as a whole. If other tokens were only
    /// taken since, not reserved, the bucket gets what it has not refilled by itself since then.
    /// Otherwise the tokens are lost, and refill in time: the places of the others cannot move.
    fn return_tokens(&self, request: ReturnTokens) -> StoreFuture<()>;

    /// Sets how many permits a holder has, and acquires more if it waits for some.
    ///
    /// The holder states all that it has, not a change. So a command that was lost, or executed
    /// although its reply was lost, is corrected by the next one, and a store that has lost its
    /// data learns them again. A command whose [`number`](UpdatePermits::number) is not above that
    /// of an earlier one of the same holder is ignored; nothing is granted then.
    ///
    /// Holders that wait are served in the order in which they began to wait, and begin again after
    /// each grant. One that was [notified](Self::notify_with) and does not ask within
    /// [`turn`](UpdatePermits::turn) leaves the queue. A holder that does not renew its lease in
    /// time loses its permits, and leaves the queue.
    fn update_permits(&self, request: UpdatePermits) -> StoreFuture<PermitsUpdated>;

    /// Reports that a process is alive, and returns how many are: those that reported within
    /// [`lifetime`](Heartbeat::lifetime), this one included.
    ///
    /// A lifetime of zero takes the process off the list.
    fn heartbeat(&self, request: Heartbeat) -> StoreFuture<u64>;

    /// Sets what is called with the number of a holder of this process when that may acquire its
    /// permits now.
    ///
    /// It is called once, before any command. A notification may be lost, late or superfluous. A
    /// store without notifications need not implement it: then waiting holders ask again after
    /// [`retry_after`](PermitsUpdated::retry_after).
    fn notify_with(&self, process: &Name, notify: Notify) {
        let _ = (process, notify);
    }
}

/// The future of a command of a [`LimitStore`].
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Is called with the number of a [`Holder`]. See [`LimitStore::notify_with`].
pub type Notify = Arc<dyn Fn(u64) + Send + Sync>;

/// What holds permits of a limit: one queue of one process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The unique name of the process.
    pub process: Name,
    /// Identifies the queue in its process. It is not used again.
    pub number: u64,
}

/// Takes tokens of a bucket. See [`LimitStore::take_tokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeTokens {
    /// The name of the limit.
    pub limit: Name,
    /// The quotas that this process knows: one or more.
    pub quotas: Vec<SharedQuota>,
    /// When the quotas replace those of the store. A quota keeps what is missing of the one that
    /// had its position, up to its own burst.
    pub set: SetLimit,
    /// How many tokens are taken as a whole, or not at all. 0 takes none, and only states the
    /// quotas.
    pub least: u64,
    /// How many tokens are taken at most: `least` or more.
    pub most: u64,
    /// How long to wait for `least` tokens.
    pub max_wait: Duration,
    /// How long to wait for more than `least` tokens.
    pub horizon: Duration,
    /// Whether calls have used the tokens already: then `least` are taken in any case, and
    /// `most`, `max_wait` and `horizon` do not count.
    pub charge: bool,
}

/// When the limit of a command replaces that of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a store handles all of them")]
pub enum SetLimit {
    /// If the store has none.
    IfUnknown,
    /// If the store has none, or was last configured with another one. So a limit of a newer
    /// configuration holds as soon as a process starts with it, and one that was
    /// [changed](Self::Always) since is kept when a process starts with the same configuration.
    IfConfigured,
    /// Always: it was changed. The store remembers such a limit for a day.
    Always,
}

/// A quota in whole microseconds, so that each store computes the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedQuota {
    /// The time in which one token is replenished: a multiple of 1 microsecond, above zero.
    pub interval: Duration,
    /// How many tokens a full bucket has: 1 or more.
    pub burst: u32,
}

/// The reply to [`TakeTokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensTaken {
    /// How many tokens were taken: 0, or from `least` to `most`.
    pub taken: u64,
    /// The time until the last of these is available; without any, until `least` tokens are.
    ///
    /// With one quota, the one before is available one interval earlier, and so on. With several,
    /// all are available then. After a charge, the time until nothing is missing. At most
    /// 2^53 - 1 microseconds.
    pub wait: Duration,
    /// Identifies the reservation for [`ReturnTokens`]: the time in microseconds at which the
    /// first quota has refilled what was taken, if nothing more is. So the first of its tokens are
    /// a reservation of their own, with the receipt of an earlier time.
    pub receipt: u64,
    /// The quotas that hold for all processes.
    pub quotas: Vec<SharedQuota>,
}

/// Returns tokens. See [`LimitStore::return_tokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTokens {
    /// The name of the limit.
    pub limit: Name,
    /// The last tokens of the reservation that this identifies.
    pub receipt: u64,
    /// How many.
    pub tokens: u64,
    /// For how long they were available, if they were.
    pub age: Duration,
}

/// Sets the permits of a process. See [`LimitStore::update_permits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePermits {
    /// The name of the limit.
    pub limit: Name,
    /// Who holds the permits.
    pub holder: Holder,
    /// Increases with each command of the holder.
    pub number: u64,
    /// The number of permits that this process knows.
    pub permits: u64,
    /// When `permits` replaces the number of the store.
    pub set: SetLimit,
    /// How many permits the holder has. Counts even if that is above the limit.
    pub held: u64,
    /// How many more it waits for at least: 0 if it waits for none, and leaves its place.
    pub least: u64,
    /// How many more it takes at most: `least` or more.
    pub most: u64,
    /// How long its lease is: how long it keeps the permits if it sends no other command.
    pub lifetime: Duration,
    /// How long a holder that was notified stays the first of those that wait.
    pub turn: Duration,
}

/// The reply to [`UpdatePermits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitsUpdated {
    /// How many permits were granted: 0, or from `least` to `most`.
    pub granted: u64,
    /// The fencing number of the last permit that was granted; those before it are consecutive.
    ///
    /// It increases with each permit granted to any holder. A limit that the store does not know
    /// begins with the time in microseconds, so that it increases also after that.
    pub fence: u64,
    /// The number of permits that holds for all processes.
    pub permits: u64,
    /// For a holder that waits, when to ask again without a notification: when a lease or a turn of
    /// another one ends. `None` if nothing is known to end.
    pub retry_after: Option<Duration>,
}

/// Reports a process. See [`LimitStore::heartbeat`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The unique name of the process.
    pub process: Name,
    /// How long the report counts.
    pub lifetime: Duration,
}

/// A command that failed, or of which no reply came. It may have been executed all the same.
#[derive(Debug)]
pub struct StoreError(BoxError);

// === impl StoreError ===

impl StoreError {
    /// Creates an error from its cause.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of shared limits failed: {}", self.0)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text has the cause itself.
        self.0.source()
    }
}
