//! `Debug` of a limit: its settings and its load, without the state of its queues.

use std::fmt;

use super::permits::{Permits, in_flight};
use super::{ConcurrencyLimit, ConcurrencyLimitLayer};
use crate::queue::Limits;

/// Shows the name, the limit, the permits that are held and the number of waiters.
impl fmt::Debug for ConcurrencyLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "ConcurrencyLimitLayer", &self.limits).finish()
    }
}

/// Shows what `Debug` of the layer shows, and the inner service.
impl<S: fmt::Debug> fmt::Debug for ConcurrencyLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "ConcurrencyLimit", &self.limits)
            .field("inner", &self.inner)
            .finish()
    }
}

fn show<'f, 'a>(
    f: &'f mut fmt::Formatter<'a>,
    type_name: &str,
    limits: &Limits<Permits>,
) -> fmt::DebugStruct<'f, 'a> {
    let mut debug = f.debug_struct(type_name);
    debug.field("name", &limits.name);
    match limits.limits_of_keys() {
        Some(by_key) => debug.field("limit", &by_key),
        None => debug.field("limit", &limits.limiter().and_then(Permits::setting)),
    };
    debug.field("in_flight", &in_flight(limits));
    debug.field("queued", &limits.queued());
    debug
}
