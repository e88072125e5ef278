//! Requests as calls: tool names, contexts, limits and deadlines.

use http::Method;
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use toolbooth::{
    CallDeadline, CallPriority, CallTenant, Outcome, PartialResultLayer, PerTool, ToolName,
};

use super::*;

/// A GET request with this extension.
fn with_extension<T: Clone + Send + Sync + 'static>(extension: T) -> Request<()> {
    let mut request = get();
    request.extensions_mut().insert(extension);
    request
}

#[test]
fn default_tool_name_is_the_method_and_a_star() {
    for (method, name) in [
        ("GET", "GET *"),
        ("POST", "POST *"),
        ("PUT", "PUT *"),
        ("DELETE", "DELETE *"),
        ("HEAD", "HEAD *"),
        ("OPTIONS", "OPTIONS *"),
        ("PATCH", "PATCH *"),
        ("CONNECT", "CONNECT *"),
        ("TRACE", "TRACE *"),
        ("BREW", "* *"),
    ] {
        let mut request = get();
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(request.tool_name(), name);
        assert_eq!(request.context().tool(), name);
        assert_eq!(request.tool_name(), name);
    }
}

#[test]
fn tool_name_in_the_extensions_takes_precedence() {
    let mut request = with_extension(ToolName::new("search"));
    assert_eq!(request.tool_name(), "search");
    assert_eq!(request.context().tool(), "search");
}

#[test]
fn context_is_created_once_and_a_clone_of_the_request_is_a_later_attempt() {
    let mut request = get();
    let id = request.context().id();
    assert_eq!(request.context().id(), id);
    let mut clone = request.clone();
    assert_eq!(clone.context().id(), id);
    assert_eq!(request.context().attempt(), 1);
    assert_eq!(clone.context().attempt(), 2);
    // Another request is another call.
    assert_ne!(get().context().id(), id);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_reaches_the_tool_through_the_layers() {
    let tool = service_fn(async |mut request: Request<()>| {
        let context = request.context();
        context.emit("half");
        let left = context.remaining().map(|left| left.as_millis());
        let text = format!("{} {} {left:?}", context.id(), context.tool());
        Ok::<_, ToolError>(Response::new(Full::new(Bytes::from(text))))
    });
    let inner = PartialResultLayer::new().layer(one().layer(tool));
    let stack = TimeoutLayer::new(ms(400)).layer(inner);
    let mut request = get();
    let id = request.context().id();
    let outcomes = Outcomes::of(request.context());
    let response = stack.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), format!("{id} GET * Some(400)"));
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

/// A service that never responds.
async fn pending(_: Request<()>) -> Result<Response<String>, ToolError> {
    std::future::pending().await
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limits_per_tool_apply_by_the_tool_name() {
    let limits = PerTool::new(ms(400))
        .with("slow", ms(900))
        .with("POST *", ms(100));
    let service = TimeoutLayer::new(limits).layer(service_fn(pending));
    let mut post = get();
    *post.method_mut() = Method::POST;
    for (request, text) in [
        (
            get(),
            "timed out after 400ms (total limit of 400ms of `timeout`)",
        ),
        (
            with_extension(ToolName::new("slow")),
            "timed out after 900ms (total limit of 900ms of `timeout`)",
        ),
        (
            post,
            "timed out after 100ms (total limit of 100ms of `timeout`)",
        ),
    ] {
        let expired = service.clone().oneshot(request).await.err().unwrap();
        assert_eq!(expired.to_string(), text);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_in_the_extensions_is_the_calls() {
    let deadline = CallDeadline::new(Instant::now() + ms(150));
    // It ends a running call and a queued one.
    let limit = one();
    let service = TimeoutLayer::new(ms(400)).layer(limit.layer(service_fn(pending)));
    let (running, queued) = tokio::join!(
        service.clone().oneshot(with_extension(deadline)),
        service.clone().oneshot(with_extension(deadline)),
    );
    let waited = " while waiting in the queue of `concurrency`";
    for (response, waited) in [(running, ""), (queued, waited)] {
        let text = response.err().unwrap().to_string();
        let expected =
            format!("timed out after 150ms{waited} (deadline limit of 150ms of `timeout`)");
        assert_eq!(text, expected);
    }
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));

    // It has no effect once the context exists.
    let mut late = get();
    late.context();
    late.extensions_mut().insert(deadline);
    assert_eq!(late.context().deadline(), None);
}

#[test]
fn tenant_and_priority_in_the_extensions_are_the_calls() {
    let mut request = with_extension(CallTenant::new("acme"));
    request.extensions_mut().insert(CallPriority::new(-7));
    let context = request.context();
    assert_eq!((context.tenant(), context.priority()), (Some("acme"), -7));
    // Another attempt has them, too.
    let mut attempt = request.clone();
    assert_eq!(attempt.context().tenant(), Some("acme"));

    // They have no effect once the context exists.
    let mut late = get();
    late.context();
    late.extensions_mut().insert(CallTenant::new("acme"));
    late.extensions_mut().insert(CallPriority::new(5));
    let context = late.context();
    assert_eq!((context.tenant(), context.priority()), (None, 0));
}

#[test]
fn head_has_the_context_once_it_is_made() {
    let mut request = with_extension(CallTenant::new("acme"));
    assert!(request.http_head().expect("of HTTP").context().is_none());
    let id = request.context().id();
    let (parts, ()) = request.into_parts();
    let head = toolbooth::RequestHead::from(&parts);
    let context = head.context().expect("it is made");
    assert_eq!((context.id(), context.tenant()), (id, Some("acme")));
    // The same attempt, not another one.
    assert_eq!(context.attempt(), 1);
    let tenant = head.extension::<CallTenant>().expect("as inserted");
    assert_eq!(
        (tenant.name(), head.method()),
        (&"acme".into(), &Method::GET)
    );
}
