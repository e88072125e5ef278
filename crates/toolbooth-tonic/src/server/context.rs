use http::Method;
use tonic::Request;
use toolbooth::{CallContext, ToolRequest};

/// Returns the context of the call that a method handles.
///
/// A method makes the calls of tools as [children](CallContext::child) of it. So they inherit
/// deadline, tenant, priority and trace, they are cancelled with the call, and they need no second
/// permit of a limit around the method. It also registers hooks, and reports progress and
/// heartbeats to the layers around the method.
///
/// Without a layer of toolbooth around the method, it is a new context without tenant, of the
/// extensions of the request.
///
/// The [page of the crate](crate) has an example.
#[must_use]
pub fn context<T>(request: &mut Request<T>) -> CallContext {
    // The context is an extension, which only a request of HTTP reads. It moves there and back,
    // since a clone would be another attempt.
    let mut head = http::Request::new(());
    *head.method_mut() = Method::POST;
    std::mem::swap(head.extensions_mut(), request.extensions_mut());
    let context = head.context().clone();
    std::mem::swap(head.extensions_mut(), request.extensions_mut());
    context
}
