use std::task::{Context, Poll, ready};
use std::time::Duration;

use toolbooth_core::{End, LayerName, Moment, Part, ResponseHead, ToolError};

use super::cool_down;
use super::cost::AdjustableCost;
use super::rates::Rates;
use super::service::Options;
use crate::middleware::sync::Arc;
use crate::middleware::{Acquire, LayerFuture, LayerWatch};
use crate::queue::{LimitQueue, Limiter, Rejection, Waiter, trace_rejection};

/// The future of [`RateLimit`](super::RateLimit).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch, AcquireToken>;

/// Follows the call to its end. A token is spent when it is acquired, and refunded if the call is
/// held back inside until it ends.
#[derive(Debug)]
pub struct ResponseWatch {
    /// Boxed, since few calls are held back inside, and few layers have a cool-down.
    taken: Option<Box<Taken>>,
}

/// A call that waits for its tokens.
#[derive(Debug)]
pub struct AcquireToken {
    waiter: Waiter<Rates>,
    /// What it was charged for, once it has its tokens.
    charged: Moment,
    options: Options,
    layer: LayerName,
}

/// The tokens of a call.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) queue: Arc<LimitQueue<Rates>>,
    pub(super) cost: u64,
    pub(super) charged: Moment,
    /// The longest pause that the call can cause.
    pub(super) cool_down: Option<Duration>,
}

/// Registers the cost of a call for [`CallContext::adjust_cost`](crate::CallContext::adjust_cost).
#[cold]
pub(super) fn register_cost(
    part: &Part,
    queue: &Arc<LimitQueue<Rates>>,
    cost: u64,
    charged: Moment,
    layer: &LayerName,
) {
    let cost = AdjustableCost::new(Arc::clone(queue), cost, charged);
    part.register_cost(layer, cost.shared());
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new() -> Self {
        Self { taken: None }
    }

    /// Stores the tokens until the end: for a refund, or for a cool-down.
    #[cold]
    pub(super) fn store(&mut self, taken: Taken) {
        self.taken = Some(Box::new(taken));
    }
}

impl LayerWatch for ResponseWatch {
    #[inline]
    fn on_response(&mut self, _: &Part, head: ResponseHead<'_>) {
        if let Some(taken) = &self.taken {
            taken.cool_down(cool_down::of_response(head));
        }
    }

    #[inline]
    fn on_end(self, part: &Part, end: &End<'_>) {
        if let Some(taken) = self.taken {
            match part.is_held_back() {
                true => taken.queue.refund(taken.cost, taken.charged),
                false => taken.cool_down(cool_down::of_end(end)),
            }
        }
    }
}

// === impl Taken ===

impl Taken {
    /// Pauses the limit for `after`, up to the layer's maximum.
    fn cool_down(&self, after: Option<Duration>) {
        let Some((max, after)) = self.cool_down.zip(after) else {
            return;
        };
        let until = Moment::now().after(after.min(max));
        let until = until.unwrap_or_else(|| Moment::from_nanos(u64::MAX));
        self.queue.delay(|rates| rates.pause_until(until));
    }
}

// === impl AcquireToken ===

impl AcquireToken {
    pub(super) const fn new(waiter: Waiter<Rates>, options: Options, layer: LayerName) -> Self {
        Self {
            charged: waiter.since(),
            waiter,
            options,
            layer,
        }
    }
}

impl Acquire<ResponseWatch> for AcquireToken {
    fn poll_acquire(
        &mut self,
        part: &Part,
        _: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let context = part.context();
        let rejection = match ready!(self.waiter.poll(part, cx)) {
            Ok(grant) => {
                let charged = grant.at;
                self.charged = charged;
                if self.options.adjusts {
                    let (queue, cost) = (self.waiter.queue(), self.waiter.cost());
                    register_cost(part, queue, cost, charged, &self.layer);
                }
                return Poll::Ready(Ok(()));
            }
            Err(rejection) => rejection,
        };
        trace_rejection(&self.layer, context, &rejection, self.waiter.waited());
        let error = match rejection {
            Rejection::TooLate(after) => ToolError::rate_limited(after).with_layer(&self.layer),
            Rejection::WaitedTooLong(_) => {
                let now = Moment::now();
                let due = self.waiter.queue().due(self.waiter.cost(), now);
                let after = due.map_or_else(Default::default, |due| due.since(now));
                ToolError::rate_limited(after).with_layer(&self.layer)
            }
            rejection => rejection.error(context, &self.layer),
        };
        let limit = self.waiter.queue().limiter().describe();
        Poll::Ready(Err(error.with_limit(limit)))
    }

    fn queue(&self) -> Option<&LayerName> {
        Some(&self.layer)
    }

    fn on_called(&mut self, part: &Part, watch: &mut ResponseWatch) {
        if self.options.cool_down.is_some() || part.is_held_back() {
            watch.store(Taken {
                queue: Arc::clone(self.waiter.queue()),
                cost: self.waiter.cost(),
                charged: self.charged,
                cool_down: self.options.cool_down,
            });
        }
    }
}
