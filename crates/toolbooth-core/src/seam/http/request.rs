use http::{Extensions, Method, Request};
use tokio::time::Instant;

use super::head::RequestHead;
use super::no_body::NoBody;
use crate::call::{CallContext, Canceller, Name, ToolCall, TraceContext};
use crate::seam::ToolRequest;

/// An extension of an `http::Request`: the name of the tool that the request calls.
///
/// The request's context takes it when it is made: before the outermost of our layers, and before
/// [`ToolRequest::context`]. So it does with a [`CallDeadline`], a [`CallTenant`], a
/// [`CallPriority`] and a [`Canceller`].
///
/// The default is the method and `*`: the client chooses the path, and every name is a key and a
/// label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolName(Name);

/// An extension of an `http::Request`: the instant after which its sender does not want the
/// response, like [`ToolCall::with_deadline`]. For headers such as gRPC's `grpc-timeout`.
///
/// The request's context takes it when it is made: before the outermost of our layers, and before
/// [`ToolRequest::context`].
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use tokio::time::Instant;
/// use toolbooth_core::{CallDeadline, ToolRequest};
///
/// let mut request = Request::new("Where is TODO?");
/// let deadline = Instant::now() + Duration::from_secs(2);
/// request.extensions_mut().insert(CallDeadline::new(deadline));
/// assert_eq!(request.context().deadline(), Some(deadline));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallDeadline(Instant);

/// An extension of an `http::Request`: the tenant on whose behalf the call is made, like
/// [`ToolCall::with_tenant`].
///
/// The request's context takes it when it is made: before the outermost of our layers, and before
/// [`ToolRequest::context`]. Every tenant is a key and a label, so take it from what the server has
/// verified, such as a token, and not from what a client claims.
///
/// ```
/// use http::Request;
/// use toolbooth_core::{CallPriority, CallTenant, ToolRequest};
///
/// let mut request = Request::new("Where is TODO?");
/// request.extensions_mut().insert(CallTenant::new("acme"));
/// request.extensions_mut().insert(CallPriority::new(5));
/// let context = request.context();
/// assert_eq!((context.tenant(), context.priority()), (Some("acme"), 5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallTenant(Name);

/// An extension of an `http::Request`: the priority of the call, like [`ToolCall::with_priority`].
///
/// The request's context takes it when it is made, as it takes a [`CallTenant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallPriority(i32);

/// The context of a request's call; a clone of the request is another attempt.
struct Slot(CallContext);

// === impl ToolName ===

impl ToolName {
    /// Creates the name.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self(name.into())
    }
}

// === impl CallDeadline ===

impl CallDeadline {
    /// Creates the deadline.
    #[must_use]
    pub const fn new(deadline: Instant) -> Self {
        Self(deadline)
    }

    /// Returns the instant.
    #[must_use]
    pub const fn at(self) -> Instant {
        self.0
    }
}

// === impl CallTenant ===

impl CallTenant {
    /// Creates the tenant.
    #[must_use]
    pub fn new(tenant: impl Into<Name>) -> Self {
        Self(tenant.into())
    }

    /// Returns the name of the tenant.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.0
    }
}

// === impl CallPriority ===

impl CallPriority {
    /// Creates the priority: higher goes first, 0 is the default.
    #[must_use]
    pub const fn new(priority: i32) -> Self {
        Self(priority)
    }

    /// Returns the priority.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

// === impl Slot ===

impl Clone for Slot {
    fn clone(&self) -> Self {
        Self(self.0.fork())
    }
}

// === impl Request ===

impl<B> ToolRequest for Request<B> {
    fn tool_name(&self) -> &str {
        match context_of(self.extensions()) {
            Some(context) => context.tool(),
            None => name_of(self),
        }
    }

    fn context(&mut self) -> &CallContext {
        if self.extensions().get::<Slot>().is_none() {
            let context = new_context(self.extensions(), self.method());
            self.extensions_mut().insert(Slot(context));
        }
        let Slot(context) = self
            .extensions()
            .get()
            .expect("inserted above if it was missing");
        context
    }

    fn http_head(&self) -> Option<RequestHead<'_>> {
        Some(RequestHead::of(self))
    }

    fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::from_headers(self.headers())
    }

    fn idempotent(&mut self) -> Option<bool> {
        let by_method = self.method().is_safe()
            || matches!(*self.method(), Method::PUT | Method::DELETE)
            || self.headers().contains_key("idempotency-key");
        self.context().idempotent().or(by_method.then_some(true))
    }
}

/// Returns the context in the extensions of a request, once it is made.
pub(super) fn context_of(extensions: &Extensions) -> Option<&CallContext> {
    extensions.get().map(|Slot(context)| context)
}

fn new_context(extensions: &Extensions, method: &Method) -> CallContext {
    let name = match extensions.get::<ToolName>() {
        Some(ToolName(name)) => name.clone(),
        None => Name::from_static(name_of_method(method)),
    };
    let mut call = match extensions.get::<Canceller>() {
        Some(canceller) => ToolCall::with_canceller(name, canceller.clone(), ()),
        None => ToolCall::new(name, ()),
    };
    if let Some(CallDeadline(deadline)) = extensions.get() {
        call = call.with_deadline(*deadline);
    }
    if let Some(CallTenant(tenant)) = extensions.get() {
        call = call.with_tenant(tenant.clone());
    }
    if let Some(CallPriority(priority)) = extensions.get() {
        call = call.with_priority(*priority);
    }
    if let Some(no_body) = NoBody::of(method) {
        call = call.with_extension(no_body);
    }
    call.into_parts().0
}

fn name_of<B>(request: &Request<B>) -> &str {
    match request.extensions().get::<ToolName>() {
        Some(ToolName(name)) => name,
        None => name_of_method(request.method()),
    }
}

fn name_of_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET *",
        "POST" => "POST *",
        "PUT" => "PUT *",
        "DELETE" => "DELETE *",
        "HEAD" => "HEAD *",
        "OPTIONS" => "OPTIONS *",
        "PATCH" => "PATCH *",
        "CONNECT" => "CONNECT *",
        "TRACE" => "TRACE *",
        // The client chooses extension methods, too.
        _ => "* *",
    }
}
