use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Moment, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{AcquireToken, ResponseFuture, ResponseWatch, Taken, register_cost};
use super::rates::Rates;
use crate::middleware::{LayerFuture, PartWatch, Slot, Verdict, inner_accessors, not_to_start};
use crate::queue::{Demand, Limiter, Limits, Rejection, Waiter, trace_rejection};

/// A tool of which a limited number of calls start in a time.
///
/// Made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone)]
pub struct RateLimit<S> {
    pub(super) inner: S,
    pub(super) limits: Limits<Rates>,
    options: Options,
}

/// What the values of a limit can differ in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// Whether a call that finds no token is rejected instead of waiting.
    pub(super) reject: bool,
    /// The longest pause after a `rate_limited` of the tool.
    pub(super) cool_down: Option<Duration>,
    /// Whether a tool can adjust its cost.
    pub(super) adjusts: bool,
}

/// What a call took when it arrived.
struct Spent<'a> {
    demand: Demand<'a, Rates>,
    charged: Moment,
}

// === impl RateLimit ===

inner_accessors!(RateLimit);

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, limits: Limits<Rates>, options: Options) -> Self {
        Self {
            inner,
            limits,
            options,
        }
    }
}

impl<S, R> Service<R> for RateLimit<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        let Self {
            inner,
            limits,
            options,
        } = self;
        let options = *options;
        let spent = Cell::new(None);
        LayerFuture::enter(
            inner,
            request,
            |part, request, slot| decide(limits, options, part, request, slot, &spent),
            |part, watch| {
                // The layers inside have decided. A call that none holds back has started.
                if options.cool_down.is_some() || part.is_held_back() {
                    if let Some(spent) = spent.take() {
                        watch.store(spent.taken(options));
                    }
                }
            },
        )
    }
}

impl Spent<'_> {
    #[cold]
    fn taken(self, options: Options) -> Taken {
        let Self { demand, charged } = self;
        Taken {
            queue: demand.queue.into_owned(),
            cost: demand.cost,
            charged,
            cool_down: options.cool_down,
        }
    }
}

/// Decides whether the call starts, waits or is rejected.
fn decide<'a>(
    limits: &'a Limits<Rates>,
    options: Options,
    part: &Part,
    request: &impl ToolRequest,
    slot: Slot<'_, ResponseWatch>,
    spent: &Cell<Option<Spent<'a>>>,
) -> Verdict<AcquireToken> {
    if limits.is_unlimited() {
        return slot.start(ResponseWatch::new());
    }
    if let Some(error) = not_to_start(part, &limits.name) {
        return slot.reject(ResponseWatch::new(), error);
    }
    let Demand { queue, cost } = match limits.demand(part, request) {
        Ok(Some(demand)) => demand,
        Ok(None) => return slot.start(ResponseWatch::new()),
        Err(rejection) => return reject(limits, part, rejection, None, slot),
    };
    // A token is one for each attempt.
    if !part.count_once(queue.id()) {
        return slot.start(ResponseWatch::new());
    }
    let mut charged = Moment::from_nanos(0);
    let now = || {
        charged = part.now();
        charged
    };
    if queue.try_acquire(cost, now) {
        if options.adjusts {
            register_cost(part, &queue, cost, charged, &limits.name);
        }
        let demand = Demand { queue, cost };
        spent.set(Some(Spent { demand, charged }));
        return slot.start(ResponseWatch::new());
    }
    let now = part.now();
    let asks_store = queue.limiter().asks_store();
    if options.reject && !asks_store {
        let rejection = match queue.due(cost, now) {
            Some(due) => Rejection::TooLate(due.since(now)),
            None => Rejection::TooHeavy(cost, queue.limiter().capacity()),
        };
        let limit = queue.limiter().describe();
        return reject(limits, part, rejection, Some(limit), slot);
    }
    let waiter = Waiter::new(queue.into_owned(), cost, now);
    let waiter = match options.reject {
        true => waiter.at_once(),
        false => waiter,
    };
    let acquire = AcquireToken::new(waiter, options, limits.name.clone());
    slot.wait(ResponseWatch::new(), acquire)
}

#[cold]
fn reject(
    limits: &Limits<Rates>,
    part: &Part,
    rejection: Rejection,
    limit: Option<String>,
    slot: Slot<'_, ResponseWatch>,
) -> Verdict<AcquireToken> {
    trace_rejection(&limits.name, part.context(), &rejection, Duration::ZERO);
    let error = match rejection {
        Rejection::TooLate(after) => ToolError::rate_limited(after).with_layer(&limits.name),
        rejection => rejection.error(part.context(), &limits.name),
    };
    let error = match limit {
        Some(limit) => error.with_limit(limit),
        None => error,
    };
    slot.reject(ResponseWatch::new(), error)
}
