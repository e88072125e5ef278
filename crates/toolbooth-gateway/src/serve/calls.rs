//! The layers around the toolbox: what every call passes, and what is a tenant's own.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Request;
use toolbooth::policy::{Rate, RateSettings};
use toolbooth::shared::SharedStore;
use toolbooth::toolbox::ToolService;
use toolbooth::{
    CallPriority, CallTenant, ConcurrencyLimitLayer, EventsLayer, Name, Quota, RateLimitLayer,
    ShutdownLayer, ToolCall, Toolbox,
};
use tower::ServiceBuilder;

use crate::config;

/// The toolbox, and the layers that all calls pass. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) toolbox: Toolbox,
    pub(crate) shutdown: ShutdownLayer,
    pub(crate) events: EventsLayer,
    /// Where the limits of tenants are, and the name that theirs begin with, if several gateways
    /// share them.
    pub(crate) store: Option<(SharedStore, Name)>,
}

/// On whose behalf calls are made. Without a name, no tenant's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) tenant: Option<Name>,
    pub(crate) priority: Option<i32>,
}

/// The limits of a tenant. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    rate: RateLimitLayer,
    concurrency: ConcurrencyLimitLayer,
}

/// How long a call waits for a limit of its tenant. The timeouts of the policies begin after it.
const MAX_WAIT: Duration = Duration::from_secs(30);

// === impl Calls ===

impl Calls {
    /// Returns the tools of `toolbox` within all layers.
    ///
    /// The identity is set first: events, and the queues of the tools, have the tenant.
    pub(crate) fn service(
        &self,
        toolbox: &Toolbox,
        limits: &Limits,
        identity: Identity,
    ) -> ToolService {
        let service = ServiceBuilder::new()
            .map_request(move |call| identity.mark(call))
            .layer(self.shutdown.clone())
            .layer(self.events.clone())
            .layer(limits.rate.clone())
            .layer(limits.concurrency.clone())
            .service(toolbox.clone());
        ToolService::new(service)
    }

    /// Returns the limits of a tenant; those of calls without one have no name.
    pub(crate) fn limits(&self, name: Option<&Name>, tenant: &config::Tenant) -> Limits {
        let limits = Limits::of(tenant);
        let Some(((store, prefix), name)) = self.store.as_ref().zip(name) else {
            return limits;
        };
        let name = format!("{prefix}/tenant/{name}");
        Limits {
            rate: limits.rate.with_store(store, name.clone()),
            concurrency: limits.concurrency.with_store(store, name),
        }
    }
}

// === impl Identity ===

impl Identity {
    /// Marks a request over HTTP, for the calls that are made of it.
    pub(crate) fn mark_request<B>(&self, request: &mut Request<B>) {
        if let Some(tenant) = &self.tenant {
            request
                .extensions_mut()
                .insert(CallTenant::new(tenant.clone()));
        }
        if let Some(priority) = self.priority {
            request.extensions_mut().insert(CallPriority::new(priority));
        }
    }

    /// Marks a call whose edge did not.
    fn mark(&self, mut call: ToolCall) -> ToolCall {
        let context = call.context();
        let tenant = self.tenant.as_ref().filter(|_| context.tenant().is_none());
        let priority = self.priority.filter(|_| context.priority() == 0);
        if let Some(tenant) = tenant {
            call = call.with_tenant(tenant.clone());
        }
        match priority {
            Some(priority) => call.with_priority(priority),
            None => call,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Creates no limits.
    pub(crate) fn none() -> Self {
        Self {
            rate: RateLimitLayer::new(None),
            concurrency: ConcurrencyLimitLayer::new(None),
        }
    }

    fn of(tenant: &config::Tenant) -> Self {
        let mut limits = Self {
            rate: rate(tenant.rate.as_ref()).with_name("rate of the tenant"),
            concurrency: ConcurrencyLimitLayer::new(tenant.concurrency.map(to_usize))
                .with_name("concurrency of the tenant"),
        };
        limits.rate = limits.rate.with_max_wait(MAX_WAIT);
        limits.concurrency = limits.concurrency.with_max_wait(MAX_WAIT);
        if let Some(queue) = tenant.queue.map(to_usize) {
            limits.rate = limits.rate.with_queue_capacity(queue);
            limits.concurrency = limits.concurrency.with_queue_capacity(queue);
        }
        limits
    }

    /// Returns `next`, the limits of `new`. What is as in `old` keeps its state: permits, tokens,
    /// queues.
    pub(crate) fn changed(&self, old: &config::Tenant, new: &config::Tenant, next: Self) -> Self {
        let same_queue = old.queue == new.queue;
        Self {
            rate: match same_queue && old.rate == new.rate {
                true => self.rate.clone(),
                false => next.rate,
            },
            concurrency: match same_queue && old.concurrency == new.concurrency {
                true => self.concurrency.clone(),
                false => next.concurrency,
            },
        }
    }
}

fn rate(settings: Option<&RateSettings>) -> RateLimitLayer {
    let rates = settings.map(|settings| settings.rates.as_slice());
    let mut quotas = rates.unwrap_or_default().iter().filter_map(quota);
    let first = RateLimitLayer::new(quotas.next());
    quotas.fold(first, RateLimitLayer::with_quota)
}

/// Returns the quota; `None` for a rate of no calls, which the file cannot have.
fn quota(rate: &Rate) -> Option<Quota> {
    let interval = rate.per.checked_div(rate.calls)?;
    let burst = NonZeroU32::new(rate.burst.unwrap_or(rate.calls))?;
    Some(Quota::with_period(interval)?.allow_burst(burst))
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
