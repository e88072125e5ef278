//! What a request states about its caller: the tenant, the priority, the deadline, and a key for
//! limits.
//!
//! [`CallerLayer`] reads them from headers or from the address of the peer, each only by a setting,
//! and adds them to the request as extensions:
//!
//! | Setting of the layer | Extension |
//! |---|---|
//! | [`with_tenant_header`](CallerLayer::with_tenant_header), [`with_tenant`](CallerLayer::with_tenant) | [`CallTenant`] |
//! | [`with_priority_header`](CallerLayer::with_priority_header) | [`CallPriority`] |
//! | [`with_timeout_header`](CallerLayer::with_timeout_header) | [`CallDeadline`] |
//! | [`with_idempotency_key_header`](CallerLayer::with_idempotency_key_header) | [`IdempotencyKey`] |
//! | [`with_peer_key`](CallerLayer::with_peer_key), [`with_forwarded_key`](CallerLayer::with_forwarded_key), [`with_key`](CallerLayer::with_key) | [`ClientKey`] |
//!
//! Layers of toolbooth inside it take the first three for the call of the request. A
//! [`ToolRouter`](crate::ToolRouter), and the extractor [`Caller`] in a handler, take all of them
//! for the calls of tools that the request makes.
//!
//! # Trust
//! A client chooses its headers. By default the layer reads none of them.
//!
//! - Read the tenant from a header only behind a proxy that sets it, or removes it from requests.
//!   Otherwise any client is any tenant.
//! - A timeout only shortens: it is a deadline, and the limits of the server apply within it.
//! - A priority is moved into the range that is allowed.
//! - Addresses in `X-Forwarded-For` are those of clients only as far as the proxies are yours.
//!
//! A header whose value is not allowed, or that is there twice, is a problem with the status 400.
//! Extensions that an outer layer has added stay, such as the tenant of a token; of two deadlines
//! the earlier one applies.
//!
//! # Order
//! Outside of all layers of toolbooth, since these take the extensions when a request arrives.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::error_handling::HandleErrorLayer;
//! use axum::http::HeaderName;
//! use axum::routing::post;
//! use serde_json::Value;
//! use toolbooth::{Quota, RateLimitLayer, Toolbox};
//! use toolbooth_axum::{Arguments, Caller, CallerLayer, ClientKey, Problem, handle_error};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
//!
//! # fn main() { let _ = app; }
//! # fn app(toolbox: Toolbox, quota: Quota) -> Router {
//! let ask = async move |caller: Caller, Arguments(args): Arguments<Value>| {
//!     let call = caller.call("ask", args)?; // with its tenant, priority and deadline
//!     let output = toolbox.clone().oneshot(call).await?.collect().await?;
//!     Ok::<_, Problem>(output.text())
//! };
//! Router::new().route("/ask", post(ask)).layer(
//!     ServiceBuilder::new()
//!         .layer(
//!             CallerLayer::new()
//!                 .with_timeout_header(TIMEOUT, Duration::from_secs(60))
//!                 .with_peer_key(),
//!         )
//!         .layer(HandleErrorLayer::new(handle_error))
//!         .layer(RateLimitLayer::by_request(quota, ClientKey::of_request)),
//! )
//! # }
//! ```

mod headers;
mod key;
mod layer;
mod service;

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::time::Instant;
use toolbooth::{
    CallContext, CallDeadline, CallPriority, CallTenant, Name, RequestHead, ToolCall, ToolError,
};
use toolbooth_core::TraceContext;

pub use key::ClientKey;
pub use layer::CallerLayer;
pub use service::CallerService;

/// An extension of a request: the key by which an idempotency layer recognizes a repeated call of a
/// tool. Added by [`CallerLayer::with_idempotency_key_header`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Name);

/// An extractor of what a request states about its caller, which makes calls of tools.
///
/// See the [module](self). It never rejects a request. While it is held, the call of the request is
/// not over: keep it until the calls that it makes are.
#[derive(Clone)]
pub struct Caller {
    /// The call of the request, if a layer outside has made it.
    request: Option<CallContext>,
    tenant: Option<CallTenant>,
    priority: Option<CallPriority>,
    deadline: Option<CallDeadline>,
    idempotency_key: Option<IdempotencyKey>,
    key: Option<ClientKey>,
    trace: Option<TraceContext>,
}

// === impl IdempotencyKey ===

impl IdempotencyKey {
    /// Creates the key.
    #[must_use]
    pub fn new(key: impl Into<Name>) -> Self {
        Self(key.into())
    }
}

// === impl Caller ===

impl Caller {
    /// Reads what a request states about its caller.
    #[must_use]
    pub fn of(head: &RequestHead<'_>) -> Self {
        Self {
            request: head.context().cloned(),
            tenant: head.extension().cloned(),
            priority: head.extension().copied(),
            deadline: head.extension().copied(),
            idempotency_key: head.extension().cloned(),
            key: ClientKey::find(head),
            trace: TraceContext::from_headers(head.headers()),
        }
    }

    /// Returns the tenant, if known.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        let tenant = self.tenant.as_ref();
        tenant.map(|tenant| tenant.name().as_str())
    }

    /// Returns the priority, 0 by default.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.priority.map_or(0, CallPriority::get)
    }

    /// Returns the instant after which the client does not want the response, if known.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.map(CallDeadline::at)
    }

    /// Returns the key of the client, if known: see [`ClientKey`].
    #[must_use]
    pub const fn key(&self) -> Option<&ClientKey> {
        self.key.as_ref()
    }

    /// Creates a call of a tool for this caller.
    ///
    /// It has the tenant, the priority, the deadline, the idempotency key and the trace context of
    /// the request, and the [`ClientKey`] as an extension.
    ///
    /// If layers of toolbooth wrap the handler, it is a [child](CallContext::child) of the
    /// request's call: a limit that both are under takes one permit for them, and the call ends
    /// with the request.
    ///
    /// # Errors
    /// `TooDeep`, if the request's call allows no calls below it.
    pub fn call<A>(&self, tool: impl Into<Name>, args: A) -> Result<ToolCall<A>, ToolError> {
        let mut call = match &self.request {
            Some(request) => request.child(tool, args)?,
            None => ToolCall::new(tool, args),
        };
        if let Some(tenant) = &self.tenant {
            call = call.with_tenant(tenant.name().clone());
        }
        if let Some(priority) = self.priority {
            call = call.with_priority(priority.get());
        }
        if let Some(deadline) = self.deadline {
            call = call.with_deadline(deadline.at());
        }
        if let Some(IdempotencyKey(key)) = &self.idempotency_key {
            call = call.with_idempotency_key(key.clone());
        }
        if let Some(key) = &self.key {
            call = call.with_extension(key.clone());
        }
        if let Some(trace) = &self.trace
            && call.context().extension::<TraceContext>().is_none()
        {
            call = call.with_extension(trace.clone());
        }
        Ok(call)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&RequestHead::from(&*parts)))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("tenant", &self.tenant())
            .field("priority", &self.priority())
            .field("deadline", &self.deadline())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
