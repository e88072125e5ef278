//! The share of one process of the quotas, and quotas as the store has them.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;

use crate::rate::gcra::nanos;
use crate::rate::several::Several;
use crate::shared::SharedQuota;

/// The quotas of one of several processes.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) quotas: Several,
    /// Of how many processes it is the share of one.
    pub(super) processes: u64,
}

/// A quota that limits nothing: one that is missing in front of others.
const UNLIMITED: SharedQuota = SharedQuota {
    interval: Duration::from_micros(1),
    burst: u32::MAX,
};

// === impl Share ===

impl Share {
    pub(super) fn set(&mut self, quotas: &[SharedQuota], processes: u64) {
        self.processes = processes;
        let processes = u32::try_from(processes).unwrap_or(u32::MAX);
        let shares = quotas.iter().map(|quota| match *quota {
            UNLIMITED => None,
            quota => to_quota(SharedQuota {
                interval: quota.interval.saturating_mul(processes),
                burst: (quota.burst / processes).max(1),
            }),
        });
        self.quotas.set_quotas(shares, Moment::now());
    }

    /// Returns when a call can start. One that costs more than the share has starts when that is
    /// full, and the next one once the rest has refilled, too.
    pub(super) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        let cost = cost.min(self.quotas.capacity());
        self.quotas.due(ahead, cost, now)
    }

    pub(super) fn take(&mut self, cost: u64, now: Moment) -> Option<Moment> {
        let there = cost.min(self.quotas.capacity());
        let charged = self.quotas.try_grant(there, now)?;
        self.quotas.overdraw(cost - there);
        Some(charged)
    }
}

/// Returns a quota in whole microseconds. The interval is rounded up, so that the rate is not
/// exceeded.
pub(super) fn to_shared(quota: Option<Quota>) -> SharedQuota {
    quota.map_or(UNLIMITED, |quota| {
        let micros = nanos(quota.replenish_interval()).div_ceil(1_000).max(1);
        SharedQuota {
            interval: Duration::from_micros(micros),
            burst: quota.burst_size().get(),
        }
    })
}

pub(super) fn to_quota(quota: SharedQuota) -> Option<Quota> {
    let burst = NonZeroU32::new(quota.burst).unwrap_or(NonZeroU32::MIN);
    let interval = quota.interval.max(Duration::from_micros(1));
    let limits = (quota != UNLIMITED).then(|| Quota::with_period(interval))?;
    Some(limits?.allow_burst(burst))
}
