//! `ToolError::started`: whether the tool had been called.

mod support;

use serde_json::json;
use support::{call, error_of, fails, ms, takes};
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, ErrorKind, TimeoutLayer, ToolCall, ToolError, stream_tool_fn,
    tool_fn,
};
use tower::timeout::TimeoutLayer as ForeignTimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// Case A3. The other half, that it is repeated, is a test of retries.
#[tokio::test(start_paused = true)]
async fn timeout_of_a_call_that_only_waited_has_not_started() {
    let tool = takes(ms(60));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(50)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(tool.clone());
    let first = tokio::spawn(error_of(stack.clone(), call()));
    tokio::task::yield_now().await;
    let waited = error_of(stack, call()).await;
    let ran = first.await.unwrap();
    assert_eq!([ran.kind(), waited.kind()], [ErrorKind::Timeout; 2]);
    assert_eq!([ran.started(), waited.started()], [true, false]);
}

#[tokio::test]
async fn rejection_by_a_limit_has_not_started_and_one_by_the_tool_has() {
    let closed = ConcurrencyLimitLayer::new(0).layer(takes(ms(1)));
    let closed = error_of(ConcurrencyLimitLayer::new(4).layer(closed), call()).await;
    assert_eq!(
        (closed.kind(), closed.started()),
        (ErrorKind::Overloaded, false)
    );

    let tool = ConcurrencyLimitLayer::new(4).layer(fails(ToolError::rate_limited(ms(9))));
    let tool = error_of(tool, call()).await;
    assert_eq!(
        (tool.kind(), tool.started()),
        (ErrorKind::RateLimited, true)
    );
}

#[tokio::test]
async fn call_cancelled_before_its_start_has_not_started() {
    let tool = TimeoutLayer::unlimited().layer(takes(ms(1)));
    let call = call();
    call.canceller().cancel();
    assert!(!error_of(tool, call).await.started());
}

#[tokio::test(start_paused = true)]
async fn call_inside_of_a_foreign_layer_counts_as_started() {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(50)))
        .layer(ForeignTimeoutLayer::new(ms(20)))
        .service(takes(ms(60)));
    let error = error_of(stack, call()).await;
    assert_eq!((error.kind(), error.started()), (ErrorKind::Timeout, true));
}

/// The function is not called; a function that rejects arguments itself is.
#[tokio::test]
async fn arguments_that_an_adapter_rejects_have_not_started_the_tool() {
    async fn checks(pages: u32) -> Result<u32, BoxError> {
        match pages {
            0 => Err(ToolError::invalid_arguments(".", "0 pages").into()),
            pages => Ok(pages),
        }
    }
    let function = tool_fn("crawl", checks);
    let streaming = stream_tool_fn("crawl", |_: u32| {
        futures_util::stream::empty::<Result<_, BoxError>>()
    });
    assert_eq!(started(function.clone(), json!(0)).await, [true; 2]);
    assert_eq!(started(function, json!("all")).await, [false; 2]);
    assert_eq!(started(streaming, json!("all")).await, [false; 2]);
    #[cfg(unix)]
    {
        let command = toolbooth::CommandTool::new("echo", "echo").with_args(["{text}"]);
        let command = command.expect("a template");
        assert_eq!(started(command, json!({})).await, [false; 2]);
        let missing = toolbooth::CommandTool::new("none", "/no/such/program");
        assert_eq!(started(missing, json!({})).await, [false; 2]);
    }
}

/// Behind one layer and behind two.
async fn started<S>(tool: S, args: serde_json::Value) -> [bool; 2]
where
    S: Service<ToolCall, Response = toolbooth::ToolOutput, Error = ToolError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let one = TimeoutLayer::new(ms(5_000)).layer(tool);
    let two = ConcurrencyLimitLayer::new(1).layer(one.clone());
    let args = ToolCall::new("crawl", args);
    let one = one.oneshot(args.clone()).await.err();
    let two = two.oneshot(args).await.err();
    [one, two].map(|error| error.expect("rejected").started())
}
