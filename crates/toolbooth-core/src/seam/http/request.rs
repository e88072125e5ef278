use http::{Extensions, Method, Request};
use tokio::time::Instant;

use super::no_body::NoBody;
use crate::call::{CallContext, Name, ToolCall};
use crate::seam::ToolRequest;

/// In the extensions of an `http::Request`: the name of the tool that the request calls.
///
/// It counts where it is put in before the call's context is made: before the outermost of our layers,
/// and before [`ToolRequest::context`].
///
/// Without it the name is the method and `*`, since the path is chosen by the client, and every
/// name is a key and a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolName(Name);

/// In the extensions of an `http::Request`: the instant from which on its sender does not want the answer, as
/// [`ToolCall::with_deadline`] says it of a call. For the likes of gRPC's header `grpc-timeout`.
///
/// It counts where it is put in before the call's context is made: before the outermost of our layers,
/// and before [`ToolRequest::context`].
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

/// The context of a request's call; a clone of the request is another attempt.
struct Slot(CallContext);

// === impl ToolName ===

impl ToolName {
    /// A tool of this name.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self(name.into())
    }
}

// === impl CallDeadline ===

impl CallDeadline {
    /// An answer after this instant is not wanted.
    #[must_use]
    pub const fn new(deadline: Instant) -> Self {
        Self(deadline)
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
        match self.extensions().get::<Slot>() {
            Some(Slot(context)) => context.tool(),
            None => name_of(self),
        }
    }

    fn context(&mut self) -> &CallContext {
        if self.extensions().get::<Slot>().is_none() {
            let context = new_context(self.extensions(), self.method());
            self.extensions_mut().insert(Slot(context));
        }
        let Slot(context) = self.extensions().get().expect("it was put there above");
        context
    }
}

fn new_context(extensions: &Extensions, method: &Method) -> CallContext {
    let name = match extensions.get::<ToolName>() {
        Some(ToolName(name)) => name.clone(),
        None => Name::from_static(name_of_method(method)),
    };
    let deadline = extensions.get::<CallDeadline>();
    let no_body = NoBody::of(method);
    if deadline.is_none() && no_body.is_none() {
        return CallContext::new(name);
    }
    let mut call = ToolCall::new(name, ());
    if let Some(CallDeadline(deadline)) = deadline {
        call = call.with_deadline(*deadline);
    }
    if let Some(no_body) = no_body {
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
        // Methods of their own are chosen by the client, too.
        _ => "* *",
    }
}
