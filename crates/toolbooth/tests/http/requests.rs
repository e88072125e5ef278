//! A request as a call.

use http::Method;
use http_body_util::Full;
use tokio::time::Instant;
use toolbooth::{CallDeadline, PartialResultLayer, ToolName};

use super::*;

#[test]
fn tool_is_named_by_the_method_and_a_star() {
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
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri("/secret/1")
            .body(())
            .unwrap();
        assert_eq!(request.tool_name(), name);
        assert_eq!(request.context().tool(), name);
        assert_eq!(request.tool_name(), name);
    }
}

#[test]
fn tool_name_in_the_extensions_goes_first() {
    let mut request = Request::get("/")
        .extension(ToolName::new("search"))
        .body(())
        .unwrap();
    assert_eq!(request.tool_name(), "search");
    assert_eq!(request.context().tool(), "search");
}

#[test]
fn context_is_made_once_and_a_clone_of_the_request_is_another_attempt() {
    let mut request = Request::get("/").body(()).unwrap();
    let id = request.context().id();
    assert_eq!(request.context().id(), id);
    let mut clone = request.clone();
    assert_eq!(clone.context().id(), id);
    assert_eq!(
        (request.context().attempt(), clone.context().attempt()),
        (1, 2)
    );
    // Another request is another call.
    assert_ne!(Request::get("/").body(()).unwrap().context().id(), id);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn context_survives_through_the_layers_to_the_tool() {
    let tool = service_fn(async |mut request: Request<()>| {
        let context = request.context();
        context.emit("half");
        let left = context.remaining().map(|left| left.as_millis());
        let text = format!("{} {} {left:?}", context.id(), context.tool());
        Ok::<_, ToolError>(Response::new(Full::new(Bytes::from(text))))
    });
    let stack = TimeoutLayer::new(ms(400))
        .layer(PartialResultLayer::new().layer(ConcurrencyLimitLayer::new(1).layer(tool)));
    let (mut request, told) = get();
    let id = request.context().id();
    let response = stack.oneshot(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(body.to_bytes(), format!("{id} GET * Some(400)"));
    assert_eq!(told.outcomes().await, [toolbooth::Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limits_by_tool_go_by_the_name() {
    let limits = toolbooth::PerTool::new(ms(400))
        .with("slow", ms(900))
        .with("POST *", ms(100));
    let service = TimeoutLayer::new(limits).layer(service_fn(async |_: Request<()>| {
        std::future::pending::<Result<Response<String>, ToolError>>().await
    }));
    let slow = Request::get("/")
        .extension(ToolName::new("slow"))
        .body(())
        .unwrap();
    let post = Request::post("/").body(()).unwrap();
    for (request, text) in [
        (get().0, "timed out after 400ms (total limit of 400ms)"),
        (slow, "timed out after 900ms (total limit of 900ms)"),
        (post, "timed out after 100ms (total limit of 100ms)"),
    ] {
        let struck = service.clone().oneshot(request).await.err().unwrap();
        assert_eq!(struck.to_string(), text);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_in_the_extensions_is_the_call_s() {
    let deadline = CallDeadline::new(Instant::now() + ms(150));
    let request = || Request::get("/").extension(deadline).body(()).unwrap();
    // It cuts the running tool, and a call that waits in line.
    let limit = ConcurrencyLimitLayer::new(1);
    let hangs = service_fn(async |_: Request<()>| {
        std::future::pending::<Result<Response<String>, ToolError>>().await
    });
    let service = TimeoutLayer::new(ms(400)).layer(limit.layer(hangs));
    let (running, waiting) = tokio::join!(
        service.clone().oneshot(request()),
        service.clone().oneshot(request()),
    );
    for answer in [running, waiting] {
        let text = answer.err().unwrap().to_string();
        assert_eq!(text, "timed out after 150ms (deadline limit of 150ms)");
    }
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));

    // It counts before the context is made, and not after.
    let (mut late, _told) = get();
    late.extensions_mut().insert(deadline);
    assert_eq!(late.context().deadline(), None);
}
