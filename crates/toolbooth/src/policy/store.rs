//! The state of limits, which outlives the versions of the policies.
//!
//! Invariants:
//! 1. There is one layer value for each scope and kind, which all stacks of the scope share.
//! 2. New numbers are set on that value, so that calls which run and wait count on.
//! 3. A limit that no policy names any more is kept until it is unused: until no call holds or
//!    waits for it, its tokens are back, and it is closed. A policy that names it again before
//!    finds its state.

use std::collections::HashMap;

use toolbooth_core::Name;

use super::plan::{Limits, Plan, Queue, Scope};
use super::values::{BreakerSettings, RateSettings, RetrySettings};
use crate::breaker::BreakerState;
use crate::middleware::ConfigError;
use crate::shared::SharedStore;
use crate::toolbox::{StackEvents, Version};
use crate::{CircuitBreakerLayer, ConcurrencyLimitLayer, RateLimitLayer, RetryBudget};

/// The limits of all scopes.
#[derive(Debug)]
pub(super) struct Store {
    base: Base,
    scopes: HashMap<Scope, State>,
}

/// What all limits have.
#[derive(Debug)]
struct Base {
    /// The sink of their events.
    events: StackEvents,
    /// Where they are, and the name that theirs begin with, if in a store.
    store: Option<(SharedStore, Name)>,
}

/// The limits of one scope.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    breaker: Option<Held<CircuitBreakerLayer, BreakerSettings>>,
    rate: Option<Held<RateLimitLayer, (RateSettings, Queue)>>,
    concurrency: Option<Held<ConcurrencyLimitLayer, (u32, Queue)>>,
    budget: Option<Held<RetryBudget, RetrySettings>>,
}

/// A layer, and the numbers that it has. `None` if it limits nothing any more.
#[derive(Debug, Clone)]
struct Held<L, N> {
    layer: L,
    numbers: Option<N>,
}

/// Why no number is rejected: [`check`](super::check) has rejected it before.
const CHECKED: &str = "the policies were checked";

type Changed = Result<(), ConfigError>;

// === impl Store ===

impl Store {
    pub(super) fn new(version: &Version) -> Self {
        Self {
            base: Base {
                events: version.events().clone(),
                store: version.store().cloned(),
            },
            scopes: HashMap::new(),
        }
    }

    /// Creates the limits of a plan that are missing, and sets the numbers of the others.
    ///
    /// The plan is made of policies that are checked.
    pub(super) fn update(&mut self, tool: &str, plan: &Plan) {
        self.try_update(tool, plan).expect(CHECKED);
    }

    fn try_update(&mut self, tool: &str, plan: &Plan) -> Changed {
        for (scope, limits) in plan.scopes(tool) {
            let (kind, name) = match &scope {
                Scope::Group(name) => ("group", name.clone()),
                Scope::Tool(name) => ("tool", name.clone()),
            };
            let state = self.scopes.entry(scope).or_default();
            state.update((kind, &name), limits, &self.base)?;
        }
        if let Some(retry) = &plan.retry {
            let state = self.scopes.entry(Scope::Tool(tool.into())).or_default();
            state.update_budget(retry)?;
        }
        Ok(())
    }

    /// Returns the limits of a scope.
    pub(super) fn get(&self, scope: &Scope) -> Option<&State> {
        self.scopes.get(scope)
    }

    /// Releases calls that wait for limits which none of these plans names, and forgets the limits
    /// that are unused.
    pub(super) fn retire<'a>(&mut self, plans: impl Iterator<Item = (&'a Name, &'a Plan)>) {
        let mut named: HashMap<Scope, (&Limits, bool)> = HashMap::new();
        for (tool, plan) in plans {
            for (scope, limits) in plan.scopes(tool) {
                let retries = matches!(scope, Scope::Tool(_)) && plan.retry.is_some();
                named.insert(scope, (limits, retries));
            }
        }
        let none = Limits::default();
        for (scope, state) in &mut self.scopes {
            let (limits, retries) = named.get(scope).copied().unwrap_or((&none, false));
            state.retire(limits, retries).expect(CHECKED);
        }
        self.scopes.retain(|_, state| !state.is_empty());
    }

    /// Forgets the limits of tools that are gone, if they are unused.
    pub(super) fn forget(&mut self, is_there: &dyn Fn(&str) -> bool) {
        self.scopes.retain(|scope, state| match scope {
            Scope::Tool(name) => is_there(name) || state.is_used(),
            Scope::Group(_) => true,
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.scopes.len()
    }
}

// === impl State ===

impl State {
    pub(super) fn breaker(&self) -> Option<CircuitBreakerLayer> {
        self.breaker.as_ref().map(|held| held.layer.clone())
    }

    pub(super) fn rate(&self) -> Option<RateLimitLayer> {
        self.rate.as_ref().map(|held| held.layer.clone())
    }

    pub(super) fn concurrency(&self) -> Option<ConcurrencyLimitLayer> {
        self.concurrency.as_ref().map(|held| held.layer.clone())
    }

    pub(super) fn budget(&self) -> Option<RetryBudget> {
        self.budget.as_ref().map(|held| held.layer.clone())
    }

    fn update(&mut self, scope: (&str, &str), limits: &Limits, base: &Base) -> Changed {
        if let Some(breaker) = &limits.breaker {
            self.update_breaker(scope.1, breaker, &base.events)?;
        }
        if let Some(rate) = &limits.rate {
            self.update_rate(scope, rate, &limits.queue, base)?;
        }
        if let Some(concurrency) = limits.concurrency {
            self.update_concurrency(scope, concurrency, &limits.queue, base)?;
        }
        Ok(())
    }

    fn update_breaker(
        &mut self,
        name: &str,
        new: &BreakerSettings,
        events: &StackEvents,
    ) -> Changed {
        let policy = new.policy()?;
        match &mut self.breaker {
            None => {
                let layer = CircuitBreakerLayer::with_policy(policy)
                    .with_name(format!("breaker of {name}"))
                    .with_events(events.clone());
                self.breaker = Some(Held::new(layer, new.clone()));
            }
            Some(held) if held.numbers.as_ref() != Some(new) => {
                held.layer.set_policy(policy);
                held.numbers = Some(new.clone());
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn update_rate(
        &mut self,
        (kind, name): (&str, &str),
        new: &RateSettings,
        queue: &Queue,
        base: &Base,
    ) -> Changed {
        let quotas: Vec<_> = new.quotas().collect();
        let fits = |held: &&mut Held<RateLimitLayer, _>| held.layer.can_have(quotas.len());
        match self.rate.as_mut().filter(fits) {
            None => {
                let mut quotas = quotas.into_iter();
                let layer = RateLimitLayer::new(quotas.next());
                let layer = quotas.fold(layer, RateLimitLayer::with_quota);
                let layer = layer
                    .with_queue_capacity(queue.calls())
                    .with_max_wait(queue.max_wait)
                    .with_order(queue.order())
                    .with_name(format!("rate of {name}"))
                    .with_events(base.events.clone());
                let layer = match &base.store {
                    None => layer,
                    Some((store, prefix)) => {
                        layer.with_store(store, format!("{prefix}/{kind}/{name}"))
                    }
                };
                self.rate = Some(Held::new(layer, (new.clone(), queue.clone())));
            }
            Some(Held { layer, numbers }) => {
                let before = numbers.as_ref();
                if before.map(|(rates, _)| rates) != Some(new) {
                    layer.set_quotas(&quotas)?;
                }
                let before = before.map(|(_, queue)| queue);
                if before.map(Queue::calls) != Some(queue.calls()) {
                    layer.set_queue_capacity(queue.calls());
                }
                if before.map(|queue| queue.max_wait) != Some(queue.max_wait) {
                    layer.set_max_wait(queue.max_wait);
                }
                if before.is_none_or(|before| !before.has_order_of(queue)) {
                    layer.set_order(queue.order());
                }
                *numbers = Some((new.clone(), queue.clone()));
            }
        }
        Ok(())
    }

    fn update_concurrency(
        &mut self,
        (kind, name): (&str, &str),
        new: u32,
        queue: &Queue,
        base: &Base,
    ) -> Changed {
        let limit = usize::try_from(new).unwrap_or(usize::MAX);
        match &mut self.concurrency {
            None => {
                let layer = ConcurrencyLimitLayer::try_new(limit)?
                    .with_queue_capacity(queue.calls())
                    .with_max_wait(queue.max_wait)
                    .with_order(queue.order())
                    .with_name(format!("concurrency of {name}"))
                    .with_events(base.events.clone());
                let layer = match &base.store {
                    None => layer,
                    Some((store, prefix)) => {
                        layer.with_store(store, format!("{prefix}/{kind}/{name}"))
                    }
                };
                self.concurrency = Some(Held::new(layer, (new, queue.clone())));
            }
            Some(Held { layer, numbers }) => {
                let before = numbers.as_ref();
                if before.map(|(limit, _)| *limit) != Some(new) {
                    layer.set_limit(limit)?;
                }
                let before = before.map(|(_, queue)| queue);
                if before.map(Queue::calls) != Some(queue.calls()) {
                    layer.set_queue_capacity(queue.calls());
                }
                if before.map(|queue| queue.max_wait) != Some(queue.max_wait) {
                    layer.set_max_wait(queue.max_wait);
                }
                if before.is_none_or(|before| !before.has_order_of(queue)) {
                    layer.set_order(queue.order());
                }
                *numbers = Some((new, queue.clone()));
            }
        }
        Ok(())
    }

    fn update_budget(&mut self, new: &RetrySettings) -> Changed {
        match &mut self.budget {
            None => self.budget = Some(Held::new(new.new_budget()?, new.clone())),
            Some(held) => {
                held.layer.set_ratio(new.budget())?;
                held.numbers = Some(new.clone());
            }
        }
        Ok(())
    }

    /// Retires what the limits do not name.
    fn retire(&mut self, named: &Limits, retries: bool) -> Changed {
        if named.breaker.is_none() {
            // No call waits for it.
            self.breaker = self.breaker.take().filter(|held| is_open(&held.layer));
        }
        if named.rate.is_none() {
            if let Some(held) = self.rate.as_mut().filter(|held| held.layer.queued() > 0) {
                held.layer.set_quotas(&[])?;
                held.numbers = None;
            }
            self.rate = self.rate.take().filter(|held| is_spent(&held.layer));
        }
        if named.concurrency.is_none() {
            if let Some(held) = self
                .concurrency
                .as_mut()
                .filter(|held| held.numbers.is_some())
            {
                held.layer.set_limit(None)?;
                held.numbers = None;
            }
            let concurrency = self.concurrency.take();
            self.concurrency = concurrency.filter(|held| is_held(&held.layer));
        }
        if !retries {
            self.budget = None;
        }
        Ok(())
    }

    /// Returns whether a call uses a limit, or what calls have left has an effect.
    fn is_used(&self) -> bool {
        self.breaker
            .as_ref()
            .is_some_and(|held| is_open(&held.layer))
            || self.rate.as_ref().is_some_and(|held| is_spent(&held.layer))
            || self
                .concurrency
                .as_ref()
                .is_some_and(|held| is_held(&held.layer))
    }

    const fn is_empty(&self) -> bool {
        let limits = self.rate.is_none() && self.concurrency.is_none();
        limits && self.breaker.is_none() && self.budget.is_none()
    }
}

fn is_open(breaker: &CircuitBreakerLayer) -> bool {
    matches!(breaker.state(), BreakerState::Open | BreakerState::HalfOpen)
}

fn is_spent(rate: &RateLimitLayer) -> bool {
    rate.queued() > 0 || !rate.reset_after().is_zero()
}

fn is_held(concurrency: &ConcurrencyLimitLayer) -> bool {
    concurrency.queued() > 0 || concurrency.in_flight() > 0
}

// === impl Queue ===

impl Queue {
    fn has_order_of(&self, other: &Self) -> bool {
        let same_keys = self.priorities == other.priorities && self.fair == other.fair;
        same_keys && self.aging == other.aging
    }
}

// === impl Held ===

impl<L, N> Held<L, N> {
    const fn new(layer: L, numbers: N) -> Self {
        Self {
            layer,
            numbers: Some(numbers),
        }
    }
}
