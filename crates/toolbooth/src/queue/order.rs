use std::fmt;
use std::time::Duration;

use toolbooth_core::{CallContext, Moment, Name};

use super::Rejection;
use super::classes::Classes;
use super::waiters::Claim;
use crate::middleware::keys::MAX_KEY_BYTES;
use crate::middleware::sync::Arc;
use crate::middleware::{KeyRejection, PerTool};

/// The order in which calls that wait for a limit start.
///
/// | order | the next call is | read |
/// |---|---|---|
/// | [`fifo`](Self::fifo), the default | the one that waits longest | |
/// | [`priority`](Self::priority) | the one with the highest [priority](CallContext::priority); among equals the one that waits longest | when a permit or a token is free |
/// | [`fair_by`](Self::fair_by) | of the key that has had the least, relative to its [share](Self::with_shares); within a key the one that waits longest | when a permit or a token is free |
/// | [`priority`](Self::priority) with [`with_fair_by`](Self::with_fair_by) | the highest priority, and fair between keys within it | when a permit or a token is free |
///
/// No order stops a call that runs. Calls of a high priority can starve the others without end;
/// [`with_aging`](Self::with_aging) bounds that.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::{ConcurrencyLimitLayer, Order};
///
/// let urgent_first = Order::priority().with_aging(Duration::from_secs(10));
/// let urgent = ConcurrencyLimitLayer::new(4).with_order(urgent_first);
///
/// let by_tenant = Order::fair_by(|call| call.tenant().unwrap_or("none").into())
///     .with_shares(|tenant| if tenant == "paying" { 3 } else { 1 });
/// let fair = ConcurrencyLimitLayer::new(4).with_order(by_tenant);
/// # drop((urgent, fair));
/// ```
#[derive(Clone, Default)]
pub struct Order {
    priority: bool,
    /// The priorities of calls that have none of their own.
    tools: Option<Arc<PerTool<i32>>>,
    aging: Option<Duration>,
    fair: Option<Fair>,
}

#[derive(Clone)]
struct Fair {
    key: Arc<dyn Fn(&CallContext) -> Name + Send + Sync>,
    share: Option<Arc<dyn Fn(&str) -> u32 + Send + Sync>>,
}

// === impl Order ===

impl Order {
    /// Starts calls in the order in which they arrive: first in, first out.
    #[must_use]
    pub fn fifo() -> Self {
        Self::default()
    }

    /// Starts the call with the highest [priority](CallContext::priority) first.
    ///
    /// Calls of equal priority start in the order in which they arrive.
    #[must_use]
    pub fn priority() -> Self {
        Self {
            priority: true,
            ..Self::default()
        }
    }

    /// Sets the priorities of tools: those of calls whose own priority is 0.
    ///
    /// Without an order by priority it has no effect.
    ///
    /// ```
    /// use toolbooth::{ConcurrencyLimitLayer, Order, PerTool};
    ///
    /// let tools = PerTool::none().with("search", 10);
    /// let search_first = Order::priority().with_tool_priorities(tools);
    /// let limit = ConcurrencyLimitLayer::new(4).with_order(search_first);
    /// # drop(limit);
    /// ```
    #[must_use]
    pub fn with_tool_priorities(mut self, tools: impl Into<PerTool<i32>>) -> Self {
        self.tools = Some(Arc::new(tools.into()));
        self
    }

    /// Starts calls of different keys, such as tenants, in turns.
    ///
    /// With a hundred calls of one key in the queue, the first call of another key is the second to
    /// start. Calls of one key start in the order in which they arrive.
    ///
    /// The key function is called when a call is enqueued, without a lock. A key without a call in
    /// the queue saves nothing up and needs no memory.
    #[must_use]
    pub fn fair_by(key: impl Fn(&CallContext) -> Name + Send + Sync + 'static) -> Self {
        Self::fifo().with_fair_by(key)
    }

    /// Adds fairness between keys, as [`fair_by`](Self::fair_by).
    ///
    /// If the order is by priority, it is fair within each priority.
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

    /// Sets the share of each key: 1 by default, and for 0.
    ///
    /// A key with share 3 starts three times as many calls as a key with share 1 while both have
    /// calls in the queue. Without fairness between keys it has no effect.
    #[must_use]
    pub fn with_shares(mut self, share: impl Fn(&str) -> u32 + Send + Sync + 'static) -> Self {
        if let Some(fair) = &mut self.fair {
            fair.share = Some(Arc::new(share));
        }
        self
    }

    /// Makes a call that has waited for `max_wait` precede every younger one.
    ///
    /// It does so whatever the priority or the key is. Among such calls the oldest goes first.
    ///
    /// On a limit of `n` whose calls take one permit each, and `service` at most, every call starts
    /// within `max_wait + ((aged ahead + 1) / n).ceil() * service`. Here `aged ahead` is the number
    /// of calls in the queue that arrived before it: all `n` may have started just before its
    /// grant. If calls take several permits, a call that is first by its age is granted when the
    /// next running call ends.
    #[must_use]
    pub const fn with_aging(mut self, max_wait: Duration) -> Self {
        self.aging = Some(max_wait);
        self
    }

    /// Returns the setting of a queue; `None` for first in, first out.
    pub(crate) fn into_setting(self) -> Option<Arc<Self>> {
        (!self.is_fifo()).then(|| Arc::new(self))
    }

    const fn is_fifo(&self) -> bool {
        !self.priority && self.fair.is_none()
    }

    /// Returns the order as text, such as `priority, aging 10s`.
    pub(super) fn to_text(&self) -> String {
        let order = match (self.priority, &self.fair) {
            (false, None) => "fifo",
            (true, None) => "priority",
            (false, Some(_)) => "fair",
            (true, Some(_)) => "priority, fair",
        };
        match self.aging {
            Some(aging) => format!("{order}, aging {aging:?}"),
            None => order.to_owned(),
        }
    }

    pub(super) const fn is_fair(&self) -> bool {
        self.fair.is_some()
    }

    pub(super) const fn aging(&self) -> Option<Duration> {
        self.aging
    }

    pub(super) fn classes(&self) -> Option<Classes> {
        (!self.is_fifo()).then(|| Classes::new(self.fair.is_some()))
    }

    fn priority_of(&self, context: &CallContext) -> i32 {
        match (context.priority(), &self.tools) {
            (0, Some(tools)) => tools.get(context.tool()).copied().unwrap_or(0),
            (own, _) => own,
        }
    }

    /// Reads from a call what the order uses. Calls the user's functions if it is fair.
    pub(super) fn claim(
        &self,
        context: &CallContext,
        cost: u64,
        since: Moment,
    ) -> Result<Claim, Rejection> {
        let mut claim = Claim::new(since, cost);
        if self.priority {
            claim.priority = self.priority_of(context);
        }
        if let Some(fair) = &self.fair {
            let key = (fair.key)(context);
            if key.len() > MAX_KEY_BYTES {
                return Err(Rejection::Key(KeyRejection::TooLong(key.len())));
            }
            let share = fair.share.as_ref().map_or(1, |share| share(&key));
            claim.flow = Some(Box::new((key, share)));
        }
        Ok(claim)
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
