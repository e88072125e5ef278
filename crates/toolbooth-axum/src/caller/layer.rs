use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderName};
use tokio::time::Instant;
use toolbooth::{CallDeadline, CallPriority, CallTenant, Name, RequestHead};
use tower_layer::Layer;

use super::service::CallerService;
use super::{ClientKey, IdempotencyKey, headers};
use crate::Problem;

/// Reads what requests state about their callers, for the layers and the calls inside. See the
/// [module](super).
///
/// By default it reads nothing.
#[derive(Clone, Default)]
pub struct CallerLayer(Arc<Rules>);

/// What is read, and from where.
#[derive(Clone, Default)]
struct Rules {
    tenant: Option<Tenant>,
    priority: Option<(HeaderName, RangeInclusive<i32>)>,
    timeout: Option<(HeaderName, Duration)>,
    idempotency_key: Option<HeaderName>,
    key: Option<Key>,
}

/// A header, or a function of the user.
#[derive(Clone)]
enum Tenant {
    Header(HeaderName),
    Head(Read<CallTenant>),
}

#[derive(Clone)]
enum Key {
    Peer,
    Forwarded(usize),
    Head(Read<ClientKey>),
}

type Read<T> = Arc<dyn Fn(&RequestHead<'_>) -> Option<T> + Send + Sync>;

// === impl CallerLayer ===

impl CallerLayer {
    /// Creates a layer that reads nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the tenant from a header: 1 to 256 visible ASCII characters.
    ///
    /// Only behind a proxy that sets the header, or removes it from requests: see
    /// [the module](super#trust). Replaces [`with_tenant`](Self::with_tenant).
    #[must_use]
    pub fn with_tenant_header(self, header: HeaderName) -> Self {
        self.with(|rules| rules.tenant = Some(Tenant::Header(header)))
    }

    /// Takes the tenant from a function of the request, such as of an extension that an
    /// authentication layer has added. `None` is no tenant.
    ///
    /// Replaces [`with_tenant_header`](Self::with_tenant_header).
    #[must_use]
    pub fn with_tenant(
        self,
        tenant: impl Fn(&RequestHead<'_>) -> Option<Name> + Send + Sync + 'static,
    ) -> Self {
        let read: Read<CallTenant> = Arc::new(move |head| tenant(head).map(CallTenant::new));
        self.with(|rules| rules.tenant = Some(Tenant::Head(read)))
    }

    /// Reads the priority from a header: a whole number, which is moved into the range.
    ///
    /// Any client may state the highest priority of the range.
    #[must_use]
    pub fn with_priority_header(self, header: HeaderName, range: RangeInclusive<i32>) -> Self {
        self.with(|rules| rules.priority = Some((header, range)))
    }

    /// Reads the deadline from a header: the time that the client waits, in milliseconds, as 1 to
    /// 10 digits. It starts when the request arrives, and is at most `max`.
    ///
    /// Without the header there is no deadline: the limits of the server apply alone. No standard
    /// names such a header. Common ones are `x-request-timeout-ms`, Connect's
    /// `connect-timeout-ms` and Envoy's `x-envoy-expected-rq-timeout-ms`.
    #[must_use]
    pub fn with_timeout_header(self, header: HeaderName, max: Duration) -> Self {
        self.with(|rules| rules.timeout = Some((header, max)))
    }

    /// Reads from a header the key by which an idempotency layer recognizes a repeated call of a
    /// tool, such as `idempotency-key`: 1 to 256 visible ASCII characters.
    ///
    /// Calls of one tool and one tenant with the same key run once, and share the response. Without
    /// tenants, the keys of all clients are one space, so a client that guesses the key of another
    /// one receives its response.
    #[must_use]
    pub fn with_idempotency_key_header(self, header: HeaderName) -> Self {
        self.with(|rules| rules.idempotency_key = Some(header))
    }

    /// Takes the key of the client from the address of the peer: see [`ClientKey`].
    #[must_use]
    pub fn with_peer_key(self) -> Self {
        self.with(|rules| rules.key = Some(Key::Peer))
    }

    /// Takes the key of the client from `X-Forwarded-For`: the address that the outermost of
    /// `proxies` proxies of yours has recorded. With 1 it is the last address of the list.
    ///
    /// Without a valid address there, the key is that of the peer.
    #[must_use]
    pub fn with_forwarded_key(self, proxies: usize) -> Self {
        self.with(|rules| rules.key = Some(Key::Forwarded(proxies)))
    }

    /// Takes the key of the client from a function of the request. `None` is the key of the peer.
    #[must_use]
    pub fn with_key(
        self,
        key: impl Fn(&RequestHead<'_>) -> Option<Name> + Send + Sync + 'static,
    ) -> Self {
        let read: Read<ClientKey> = Arc::new(move |head| key(head).map(ClientKey::new));
        self.with(|rules| rules.key = Some(Key::Head(read)))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Reads what a request states, as extensions for it.
    pub(super) fn read(&self, head: &RequestHead<'_>) -> Result<Extensions, Problem> {
        let rules = &*self.0;
        let mut found = Extensions::new();
        if head.extension::<CallTenant>().is_none() {
            let tenant = match &rules.tenant {
                Some(Tenant::Header(name)) => headers::name(head, name)?.map(CallTenant::new),
                Some(Tenant::Head(read)) => read(head),
                None => None,
            };
            insert(&mut found, tenant);
        }
        if let Some((name, range)) = &rules.priority
            && head.extension::<CallPriority>().is_none()
        {
            let priority = headers::number(head, name)?;
            let into_range = |priority: i32| priority.min(*range.end()).max(*range.start());
            insert(&mut found, priority.map(into_range).map(CallPriority::new));
        }
        if let Some((name, max)) = &rules.timeout {
            let timeout = headers::millis(head, name)?;
            let deadline = timeout.and_then(|wait| Instant::now().checked_add(wait.min(*max)));
            let outer = head.extension().map(|outer: &CallDeadline| outer.at());
            let deadline = deadline.map(|at| outer.map_or(at, |outer| outer.min(at)));
            insert(&mut found, deadline.map(CallDeadline::new));
        }
        if let Some(name) = &rules.idempotency_key {
            let key = headers::name(head, name)?;
            insert(&mut found, key.map(IdempotencyKey::new));
        }
        if head.extension::<ClientKey>().is_none() {
            let key = match &rules.key {
                Some(Key::Peer) => None,
                Some(Key::Forwarded(proxies)) => ClientKey::of_forwarded(head, *proxies),
                Some(Key::Head(read)) => read(head),
                None => return Ok(found),
            };
            insert(&mut found, key.or_else(|| ClientKey::of_peer(head)));
        }
        Ok(found)
    }
}

fn insert<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: Option<T>) {
    if let Some(value) = value {
        extensions.insert(value);
    }
}

impl<S> Layer<S> for CallerLayer {
    type Service = CallerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallerService::new(inner, self.clone())
    }
}

/// Shows which headers are read.
impl fmt::Debug for CallerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &*self.0;
        f.debug_struct("CallerLayer")
            .field("tenant", &rules.tenant)
            .field("priority", &rules.priority)
            .field("timeout", &rules.timeout)
            .field("idempotency_key", &rules.idempotency_key)
            .field("key", &rules.key)
            .finish()
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => name.fmt(f),
            Self::Head(_) => f.write_str("a function"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => f.write_str("peer"),
            Self::Forwarded(proxies) => write!(f, "x-forwarded-for, {proxies} proxies"),
            Self::Head(_) => f.write_str("a function"),
        }
    }
}
