use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{CallContext, Moment, Name};

use super::{Classes, Who};
use crate::middleware::keys::{KeyRejection, MAX_KEY};
use crate::queue::Rejection;

/// Who of those who wait for a limit goes first.
///
/// | order | next is | when it looks |
/// |---|---|---|
/// | [`fifo`](Self::fifo), the default | who waits longest | |
/// | [`priority`](Self::priority) | the highest [priority](CallContext::priority), of equals who waits longest | when a permit or a token is free |
/// | [`fair_by`](Self::fair_by) | the key that has had the least, for its [share](Self::with_shares); within a key who waits longest | when a permit or a token is free |
/// | [`priority`](Self::priority) with [`with_fair_by`](Self::with_fair_by) | the highest priority, and within it fair between keys | when a permit or a token is free |
///
/// None of them stops a call that runs. A high priority can starve the others for ever; [`with_aging`](Self::with_aging) bounds that.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::{ConcurrencyLimitLayer, Order};
///
/// let urgent_first = Order::priority().with_aging(Duration::from_secs(10));
/// let urgent = ConcurrencyLimitLayer::new(4).with_order(urgent_first);
///
/// let by_tenant = Order::fair_by(|call| call.tenant().unwrap_or("nobody").into())
///     .with_shares(|tenant| if tenant == "paying" { 3 } else { 1 });
/// let fair = ConcurrencyLimitLayer::new(4).with_order(by_tenant);
/// # drop((urgent, fair));
/// ```
#[derive(Clone, Default)]
pub struct Order {
    priority: bool,
    aging: Option<Duration>,
    fair: Option<Fair>,
}

type Key = dyn Fn(&CallContext) -> Name + Send + Sync;
type Share = dyn Fn(&str) -> u32 + Send + Sync;

#[derive(Clone)]
struct Fair {
    key: Arc<Key>,
    share: Option<Arc<Share>>,
}

// === impl Order ===

impl Order {
    /// First come, first served.
    #[must_use]
    pub fn fifo() -> Self {
        Self::default()
    }

    /// The highest [priority](CallContext::priority) first, and first come, first served among equals.
    #[must_use]
    pub fn priority() -> Self {
        Self {
            priority: true,
            ..Self::default()
        }
    }

    /// In turns between keys, such as tenants, each first come, first served: with a hundred calls of one key in line, the first
    /// call of another one is the second to start.
    ///
    /// The key is asked for when a call lines up, and not under a lock. A key that has nobody in line saves nothing up, and nothing is kept of it.
    #[must_use]
    pub fn fair_by(key: impl Fn(&CallContext) -> Name + Send + Sync + 'static) -> Self {
        Self::fifo().with_fair_by(key)
    }

    /// Fair between keys, too: within a priority where the order is by priority.
    #[must_use]
    pub fn with_fair_by(
        mut self,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        let share = self.fair.and_then(|fair| fair.share);
        self.fair = Some(Fair {
            key: Arc::new(key),
            share,
        });
        self
    }

    /// How much a key gets, beside others that get 1, while both have calls in line; 1 where nothing is said, and for 0.
    /// It changes nothing where the order is not fair by a key.
    #[must_use]
    pub fn with_shares(mut self, share: impl Fn(&str) -> u32 + Send + Sync + 'static) -> Self {
        if let Some(fair) = &mut self.fair {
            fair.share = Some(Arc::new(share));
        }
        self
    }

    /// Lets a call that has waited so long precede every younger one, whatever its priority or its key; among such calls, who waits longest goes first.
    ///
    /// So on a limit of `n` whose calls take one permit each and `service` at most, every call starts within
    /// `max_wait + ((aged ahead + 1) / n).ceil() * service`, `aged ahead` being the calls in line that came before it: all `n` may have started
    /// just before it was its turn. Where calls take several permits, a call whose turn comes by its age looks for its own
    /// when the next one that runs ends.
    #[must_use]
    pub const fn with_aging(mut self, max_wait: Duration) -> Self {
        self.aging = Some(max_wait);
        self
    }

    pub(in crate::queue) const fn is_fifo(&self) -> bool {
        !self.priority && self.fair.is_none()
    }

    pub(in crate::queue) const fn is_fair(&self) -> bool {
        self.fair.is_some()
    }

    pub(in crate::queue) const fn aging(&self) -> Option<Duration> {
        self.aging
    }

    pub(in crate::queue) fn classes(&self) -> Option<Classes> {
        (!self.is_fifo()).then(|| Classes::new(self.fair.is_some()))
    }

    /// What a call says of itself, as far as the order looks at it.
    pub(in crate::queue) fn who(
        &self,
        context: &CallContext,
        cost: u64,
        since: Moment,
    ) -> Result<Who, Rejection> {
        let mut who = Who::first_come(since, cost);
        if self.priority {
            who.priority = context.priority();
        }
        if let Some(fair) = &self.fair {
            let key = (fair.key)(context);
            if key.len() > MAX_KEY {
                return Err(Rejection::Key(KeyRejection::TooLong(key.len())));
            }
            let share = fair.share.as_ref().map_or(1, |share| share(&key));
            who.flow = Some(Box::new((key, share)));
        }
        Ok(who)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("priority", &self.priority)
            .field("fair", &self.fair.is_some())
            .field("aging", &self.aging)
            .finish()
    }
}
