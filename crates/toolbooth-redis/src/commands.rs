//! The commands of a store as scripts with keys and arguments. Nothing is sent here.

use std::time::Duration;

use toolbooth::shared::{
    Heartbeat, PermitsUpdated, ReturnTokens, SetLimit, SharedQuota, TakeTokens, TokensTaken,
    UpdatePermits,
};

use crate::keys::{Keys, bounded, member};
use crate::scripts::{self, Code};
use crate::status::{LimitStatus, StatusReply};

/// The longest time in a command, 31 years, and the longest that a full bucket may take to refill,
/// 63 years. The scripts count microseconds since 1970 in doubles, exact to 2^53: the longest debt,
/// of two full buckets, fits until 2128.
const MAX_TIME: u64 = 1_000_000_000_000_000;
const MAX_REFILL: u64 = 2 * MAX_TIME;

/// The largest number that the scripts count exactly.
const MAX_COUNT: u64 = (1 << 53) - 1;

/// How long a limit that was set is remembered: a day.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// A command whose reply `R` is converted into a `T`.
#[derive(Debug)]
pub(crate) struct Command<R, T> {
    pub(crate) code: &'static Code,
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) convert: fn(R) -> T,
}

/// Taken, wait, receipt, and for each quota its interval and burst.
pub(crate) type TakenReply = (u64, u64, u64, Vec<u64>);

/// Granted, fence, permits, and the time until to ask again or -1.
pub(crate) type UpdatedReply = (u64, u64, u64, i64);

pub(crate) fn take_tokens(keys: &Keys, request: &TakeTokens) -> Command<TakenReply, TokensTaken> {
    let mut args = vec![
        set_limit(request.set),
        request.least,
        request.most,
        time(request.max_wait),
        time(request.horizon),
        time(REMEMBERED),
        u64::from(request.charge),
    ];
    for quota in &request.quotas {
        let interval = micros(quota.interval).clamp(1, MAX_REFILL);
        let burst = u64::from(quota.burst).clamp(1, MAX_REFILL / interval);
        args.extend([interval, burst]);
    }
    Command {
        code: &scripts::TAKE_TOKENS,
        keys: vec![keys.bucket(&request.limit)],
        args: numbers(&args),
        convert: |(taken, wait, receipt, quotas)| TokensTaken {
            taken,
            wait: Duration::from_micros(wait),
            receipt,
            quotas: quotas
                .as_chunks()
                .0
                .iter()
                .map(|[interval, burst]| shared_quota(*interval, *burst))
                .collect(),
        },
    }
}

pub(crate) fn return_tokens(keys: &Keys, request: &ReturnTokens) -> Command<u64, ()> {
    Command {
        code: &scripts::RETURN_TOKENS,
        keys: vec![keys.bucket(&request.limit)],
        args: numbers(&[request.receipt, request.tokens, time(request.age)]),
        convert: |_| (),
    }
}

pub(crate) fn update_permits(
    keys: &Keys,
    request: &UpdatePermits,
) -> Command<UpdatedReply, PermitsUpdated> {
    let mut args = vec![member(&request.holder)];
    args.extend(numbers(&[
        request.number,
        request.permits,
        set_limit(request.set),
        request.held,
        request.least,
        request.most,
        time(request.lifetime),
        time(request.turn),
        time(REMEMBERED),
    ]));
    args.push(keys.channels());
    Command {
        code: &scripts::UPDATE_PERMITS,
        keys: keys.permits(&request.limit).to_vec(),
        args,
        convert: |(granted, fence, permits, again)| PermitsUpdated {
            granted,
            fence,
            permits,
            retry_after: u64::try_from(again).ok().map(Duration::from_micros),
        },
    }
}

pub(crate) fn heartbeat(keys: &Keys, request: &Heartbeat) -> Command<u64, u64> {
    Command {
        code: &scripts::HEARTBEAT,
        keys: vec![keys.processes()],
        args: vec![
            bounded(&request.process),
            time(request.lifetime).to_string(),
        ],
        convert: |processes| processes,
    }
}

pub(crate) fn status(keys: &Keys, limit: &str) -> Command<StatusReply, LimitStatus> {
    let mut names = keys.permits(limit).to_vec();
    names.push(keys.bucket(limit));
    Command {
        code: &scripts::STATUS,
        keys: names,
        args: Vec::new(),
        convert: LimitStatus::of,
    }
}

pub(crate) fn shared_quota(interval: u64, burst: u64) -> SharedQuota {
    SharedQuota {
        interval: Duration::from_micros(interval),
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
    }
}

const fn set_limit(set: SetLimit) -> u64 {
    match set {
        SetLimit::IfUnknown => 0,
        SetLimit::IfConfigured => 1,
        SetLimit::Always => 2,
    }
}

fn numbers(values: &[u64]) -> Vec<String> {
    let values = values.iter().map(|value| *value.min(&MAX_COUNT));
    values.map(|value| value.to_string()).collect()
}

fn time(duration: Duration) -> u64 {
    micros(duration).min(MAX_TIME)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
