use std::time::Duration;

use toolbooth::shared::{Holder, SharedQuota};

use crate::commands::shared_quota;
use crate::keys::parse_member;

/// What the server has stored of a limit. See [`RedisStore::status`](crate::RedisStore::status).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LimitStatus {
    /// The number of permits that holds for all processes; `None` if the server has none.
    pub permits: Option<u64>,
    /// The holders that have permits, by the end of their leases.
    pub holders: Vec<HolderStatus>,
    /// The holders that wait for permits, the first one first.
    pub waiters: Vec<WaiterStatus>,
    /// The bucket; `None` if it is full and its quota was never set.
    pub bucket: Option<BucketStatus>,
}

/// A holder that has permits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HolderStatus {
    /// The queue of a process. A long name of a process is shortened.
    pub holder: Holder,
    /// How many permits it has.
    pub held: u64,
    /// When its lease ends, if it is not renewed.
    pub lease: Duration,
}

/// A holder that waits for permits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaiterStatus {
    /// The queue of a process. A long name of a process is shortened.
    pub holder: Holder,
    /// How many permits it needs at least.
    pub least: u64,
    /// How long it has waited.
    pub waited: Duration,
}

/// A bucket of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketStatus {
    /// The quotas that hold for all processes.
    pub quotas: Vec<SharedQuota>,
    /// How many tokens are available now: by the quota with the fewest.
    pub tokens: u64,
    /// How long it takes until one is: zero if `tokens` is not.
    pub wait: Duration,
}

/// The reply of the script: the permits or -1, the holders, the waiters, and the bucket.
pub(crate) type StatusReply = (
    i64,
    Vec<(String, u64, u64)>,
    Vec<(String, u64, u64)>,
    Vec<(u64, u64, u64)>,
);

// === impl LimitStatus ===

impl LimitStatus {
    pub(crate) fn of((permits, holders, waiters, bucket): StatusReply) -> Self {
        let holders = holders.into_iter().filter_map(|(member, held, lease)| {
            Some(HolderStatus {
                holder: holder(&member)?,
                held,
                lease: Duration::from_micros(lease),
            })
        });
        let waiters = waiters.into_iter().filter_map(|(member, least, waited)| {
            Some(WaiterStatus {
                holder: holder(&member)?,
                least,
                waited: Duration::from_micros(waited),
            })
        });
        Self {
            permits: u64::try_from(permits).ok(),
            holders: holders.collect(),
            waiters: waiters.collect(),
            bucket: BucketStatus::of(&bucket),
        }
    }
}

// === impl BucketStatus ===

impl BucketStatus {
    fn of(quotas: &[(u64, u64, u64)]) -> Option<Self> {
        let tokens = quotas.iter().map(|(interval, burst, debt)| {
            let missing = debt.div_ceil(*interval.max(&1));
            burst.saturating_sub(missing)
        });
        let wait = quotas.iter().map(|(interval, burst, debt)| {
            let wait = (debt + interval).saturating_sub(interval * burst);
            Duration::from_micros(wait)
        });
        Some(Self {
            tokens: tokens.min()?,
            wait: wait.max()?,
            quotas: quotas
                .iter()
                .map(|(interval, burst, _)| shared_quota(*interval, *burst))
                .collect(),
        })
    }
}

fn holder(member: &str) -> Option<Holder> {
    let (process, number) = parse_member(member)?;
    Some(Holder {
        process: process.into(),
        number,
    })
}
