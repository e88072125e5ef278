//! The service of one tool with the layers of its plan.
//!
//! A stack is erased once, and a layer costs no allocation. An absent layer would enlarge the
//! future of each call. So a stack has one of twelve types that leave out groups of absent layers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};
use tower::retry::RetryLayer;
use tower_layer::Layer;
use tower_service::Service;

use super::plan::{Limits, Plan, Scope};
use super::store::Store;
use crate::toolbox::{Tool, ToolService};
use crate::{
    CircuitBreakerLayer, ConcurrencyLimitLayer, RateLimitLayer, RetryPolicy, TimeoutLayer,
};

/// A service with or without a layer.
enum Maybe<L: Layer<S>, S> {
    With(L::Service),
    Without(S),
}

pin_project! {
    /// The future of a service with or without a layer.
    #[project = MaybeFutureProj]
    enum MaybeFuture<F, G> {
        With { #[pin] future: F },
        Without { #[pin] future: G },
    }
}

/// The layers around all attempts of a call.
struct Calls {
    timeout: Option<TimeoutLayer>,
    retry: Option<RetryLayer<RetryPolicy>>,
}

/// A tool without the limits of its plan.
trait Attempt: Tool + Service<ToolCall, Error = ToolError> {}

/// The layers of one scope.
#[derive(Default)]
struct Scoped {
    breaker: Option<CircuitBreakerLayer>,
    rate: Option<RateLimitLayer>,
    concurrency: Option<ConcurrencyLimitLayer>,
}

/// Wraps a tool by the layers of its plan, whose limits are in the store.
pub(super) fn stack(tool: &str, plan: &Plan, store: &Store, inner: ToolService) -> ToolService {
    let (mut group, mut own) = (Scoped::default(), Scoped::default());
    for (scope, limits) in plan.scopes(tool) {
        let layers = Scoped::of(&scope, limits, store);
        match scope {
            Scope::Group(_) => group = layers,
            Scope::Tool(_) => own = layers,
        }
    }
    let retry = plan.retry.as_ref().and_then(|retry| {
        let budget = store.get(&Scope::Tool(tool.into()))?.budget()?;
        let policy = retry.policy(budget, plan.idempotent);
        Some(RetryLayer::new(
            policy.with_name(format!("retry of {tool}")),
        ))
    });
    let timeout = plan.timeout.map(TimeoutLayer::new);
    let timeout = timeout.map(|layer| layer.with_name(format!("timeout of {tool}")));
    let attempt = plan.attempt.layer();
    let attempt = attempt.map(|layer| layer.with_name(format!("attempt timeout of {tool}")));
    let partial = plan.partial.as_ref().map(|partial| partial.layer());

    let layers = [
        timeout.is_some(),
        retry.is_some(),
        attempt.is_some(),
        partial.is_some(),
    ];
    if !layers.contains(&true) && group.is_empty() && own.is_empty() {
        return inner;
    }
    let calls = Calls { timeout, retry };
    let inner = Maybe::new(partial, inner);
    match attempt {
        Some(attempt) => limit(own, group, attempt.layer(inner), calls),
        None => limit(own, group, inner, calls),
    }
}

/// Wraps an attempt by the limits. Of two of a kind, the tool's is the outer one.
fn limit<S: Attempt>(own: Scoped, group: Scoped, attempt: S, calls: Calls) -> ToolService {
    let (breakers, rates, permits) = (
        (own.breaker, group.breaker),
        (own.rate, group.rate),
        (own.concurrency, group.concurrency),
    );
    if is_twice(&breakers) || is_twice(&rates) || is_twice(&permits) {
        let rates = twice(rates, twice(permits, attempt));
        calls.around(twice(breakers, rates))
    } else {
        let permits = Maybe::new(either(permits), attempt);
        match (either(breakers), either(rates)) {
            (None, None) => calls.around(permits),
            (breaker, rate) => calls.around(Maybe::new(breaker, Maybe::new(rate, permits))),
        }
    }
}

const fn is_twice<L>((own, group): &(Option<L>, Option<L>)) -> bool {
    own.is_some() && group.is_some()
}

fn either<L>((own, group): (Option<L>, Option<L>)) -> Option<L> {
    own.or(group)
}

fn twice<L, S>((own, group): (Option<L>, Option<L>), inner: S) -> Maybe<L, Maybe<L, S>>
where
    L: Layer<S> + Layer<Maybe<L, S>>,
{
    Maybe::new(own, Maybe::new(group, inner))
}

// === impl Scoped ===

impl Scoped {
    fn of(scope: &Scope, limits: &Limits, store: &Store) -> Self {
        let Some(state) = store.get(scope) else {
            return Self::default();
        };
        let rate = limits.rate.as_ref().and_then(|_| state.rate());
        Self {
            breaker: limits.breaker.as_ref().and_then(|_| state.breaker()),
            // Without a queue, the rejection has the time to retry.
            rate: rate.map(|rate| match limits.queue.capacity {
                Some(_) => rate.wait(),
                None => rate.reject(),
            }),
            concurrency: limits.concurrency.and_then(|_| state.concurrency()),
        }
    }

    const fn is_empty(&self) -> bool {
        self.breaker.is_none() && self.rate.is_none() && self.concurrency.is_none()
    }
}

// === impl Calls ===

impl Calls {
    fn around<S: Attempt>(self, attempt: S) -> ToolService {
        match self.retry {
            Some(retry) => ToolService::new(Maybe::new(self.timeout, retry.layer(attempt))),
            None => ToolService::new(Maybe::new(self.timeout, attempt)),
        }
    }
}

// === impl Attempt ===

impl<S: Tool + Service<ToolCall, Error = ToolError>> Attempt for S {}

// === impl Maybe ===

impl<L: Layer<S>, S> Maybe<L, S> {
    fn new(layer: Option<L>, inner: S) -> Self {
        match layer {
            Some(layer) => Self::With(layer.layer(inner)),
            None => Self::Without(inner),
        }
    }
}

impl<L: Layer<S, Service: Clone>, S: Clone> Clone for Maybe<L, S> {
    fn clone(&self) -> Self {
        match self {
            Self::With(service) => Self::With(service.clone()),
            Self::Without(service) => Self::Without(service.clone()),
        }
    }
}

impl<L, S> Service<ToolCall> for Maybe<L, S>
where
    L: Layer<S>,
    L::Service: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = MaybeFuture<<L::Service as Service<ToolCall>>::Future, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        match self {
            Self::With(service) => service.poll_ready(cx),
            Self::Without(service) => service.poll_ready(cx),
        }
    }

    #[inline]
    fn call(&mut self, call: ToolCall) -> Self::Future {
        match self {
            Self::With(service) => MaybeFuture::With {
                future: service.call(call),
            },
            Self::Without(service) => MaybeFuture::Without {
                future: service.call(call),
            },
        }
    }
}

impl<L: Layer<S>, S> fmt::Debug for Maybe<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maybe")
    }
}

// === impl MaybeFuture ===

impl<F, G, T> Future for MaybeFuture<F, G>
where
    F: Future<Output = T>,
    G: Future<Output = T>,
{
    type Output = T;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.project() {
            MaybeFutureProj::With { future } => future.poll(cx),
            MaybeFutureProj::Without { future } => future.poll(cx),
        }
    }
}
