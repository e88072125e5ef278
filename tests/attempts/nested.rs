//! Errors of a nested call.

use serde_json::json;
use toolbooth::{PartialResultLayer, ToolOutput, tool_fn};
use tower::{Layer, ServiceBuilder, service_fn};

use super::*;

#[tokio::test(start_paused = true)]
async fn forwarded_timeout_of_a_nested_call_is_a_failure_of_the_parent_tool() {
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let child = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(50)))
            .layer(PartialResultLayer::new())
            .service(tool(|context| {
                context.emit("of the child");
                std::future::pending::<Result<_, io::Error>>()
            }));
        let (layers, hooks) = (layers(), Recorder::new());
        let log = hooks.clone();
        let parent = tool_fn("parent", move |context: CallContext, (): ()| {
            context.on_cleanup(log.hook());
            let child = child.clone();
            async move {
                context.emit("of the parent");
                let call = ToolCall::new("child", json!(null)).with_id("inner");
                let response = child.oneshot(call).await?.collect().await?;
                Ok::<_, ToolError>(response.text())
            }
        });
        let stack = layers.stack(&order, boxed(parent));
        let start = Instant::now();
        let call = ToolCall::new("parent", json!(null)).with_id("outer");
        let error = stack.oneshot(call).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(50), "{case}");

        assert_eq!(error.kind().as_str(), "tool_error", "{case}");
        assert_eq!(error.outcome(), Outcome::Failed, "{case}");
        assert!(!error.is_retryable(), "{case}");
        let origin = (error.tool(), error.call_id());
        assert_eq!(origin, (Some("parent"), Some("outer")), "{case}");
        assert_eq!(texts(error.partial()), ["of the parent"], "{case}");

        let nested = error.source().unwrap().downcast_ref::<ToolError>().unwrap();
        assert_eq!(nested.kind(), ErrorKind::Timeout, "{case}");
        let origin = (nested.tool(), nested.call_id());
        assert_eq!(origin, (Some("child"), Some("inner")), "{case}");
        assert_eq!(texts(nested.partial()), ["of the child"], "{case}");

        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [Outcome::Failed], "{case}");
    }
}

/// The chain of sources holds the error of the tool, and that of a nested call.
#[tokio::test(start_paused = true)]
async fn source_of_a_failure_is_found_by_downcast() {
    let broken = boxed(service_fn(async |_: ToolCall| {
        Err::<ToolOutput, _>(io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }));
    let child = TimeoutLayer::new(MINUTE).layer(broken);
    let forwarding = child.clone();
    let parent = TimeoutLayer::new(MINUTE).layer(tool(move |_| {
        let nested = forwarding.clone().oneshot(call());
        async move { nested.await.map(|_| "done") }
    }));

    let error = child.oneshot(call()).await.unwrap_err();
    let source = error.source().unwrap();
    let found = source.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(found, Some(io::ErrorKind::NotFound));

    let error = parent.oneshot(call()).await.unwrap_err();
    let nested = error.source().unwrap().downcast_ref::<ToolError>();
    let source = nested.expect("the error of the nested call").source();
    assert!(source.unwrap().is::<io::Error>());
}
