//! `Debug` of a limit: its settings and its load, without the state of its buckets and queues.

use std::fmt;

use super::rates::{Rates, remaining};
use super::{RateLimit, RateLimitLayer};
use crate::queue::Limits;

/// Shows the name, the quotas and windows, the tokens that are left and the number of waiters.
impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "RateLimitLayer", &self.limits).finish()
    }
}

/// Shows what `Debug` of the layer shows, and the inner service.
impl<S: fmt::Debug> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "RateLimit", &self.limits)
            .field("inner", &self.inner)
            .finish()
    }
}

fn show<'f, 'a>(
    f: &'f mut fmt::Formatter<'a>,
    type_name: &str,
    limits: &Limits<Rates>,
) -> fmt::DebugStruct<'f, 'a> {
    let mut debug = f.debug_struct(type_name);
    debug.field("name", &limits.name);
    let rates = limits.limiter();
    match limits.limits_of_keys() {
        Some(by_key) => debug.field("quota", &by_key),
        None => debug.field("quota", &rates.and_then(Rates::quota)),
    };
    let quotas = rates.map_or(&[][..], Rates::added_quotas);
    if !quotas.is_empty() {
        debug.field("more_quotas", &quotas);
    }
    let windows = rates.map_or(&[][..], Rates::windows);
    if !windows.is_empty() {
        debug.field("windows", &windows);
    }
    debug.field("remaining", &remaining(limits));
    debug.field("queued", &limits.queued());
    debug
}
