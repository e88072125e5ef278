//! The lifetime and the bounds of the stored responses.

use toolbooth_test::overload_reason;

use super::*;

#[tokio::test(start_paused = true)]
async fn response_is_shared_for_its_lifetime_and_the_call_runs_again_after_it() {
    let layer = IdempotencyLayer::new().with_lifetime(ms(100));
    let stack = layer.layer(counts());
    assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
    sleep(ms(99)).await;
    assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
    sleep(ms(1)).await;
    assert_eq!(text_of(stack.clone(), keyed("a", 2)).await, "run 2");
    // Any call removes what has expired.
    assert_eq!(layer.keys(), 1);
    sleep(ms(100)).await;
    text_of(stack, keyed("b", 1)).await;
    assert_eq!(layer.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn oldest_response_is_removed_for_a_new_key() {
    let layer = IdempotencyLayer::new().with_max_keys(2);
    let stack = layer.layer(counts());
    for (key, text) in [
        ("a", "run 1"),
        ("b", "run 2"),
        ("a", "run 1"),
        ("c", "run 3"),
    ] {
        assert_eq!(text_of(stack.clone(), keyed(key, 1)).await, text);
    }
    assert_eq!(layer.keys(), 2);
    assert_eq!(text_of(stack.clone(), keyed("b", 1)).await, "run 2");
    assert_eq!(text_of(stack, keyed("a", 1)).await, "run 4");
}

#[tokio::test(start_paused = true)]
async fn new_key_is_rejected_while_all_keys_run() {
    let layer = IdempotencyLayer::new().with_max_keys(2);
    let stack = layer.layer(counts());
    let running = ["a", "b"].map(|key| tokio::spawn(text_of(stack.clone(), keyed(key, 1))));
    tokio::task::yield_now().await;
    let error = error_of(stack.clone(), keyed("c", 1)).await;
    assert_eq!(
        overload_reason(&error),
        Some(OverloadReason::too_many_keys(2))
    );
    assert_eq!(
        (error.layer(), error.started()),
        (Some("idempotency"), false)
    );
    for call in running {
        call.await.unwrap();
    }
    assert_eq!(text_of(stack, keyed("c", 1)).await, "run 3");

    let none = IdempotencyLayer::new().with_max_keys(0).layer(counts());
    let error = error_of(none, keyed("a", 1)).await;
    assert_eq!(error.kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn oldest_responses_are_removed_beyond_the_bytes_of_all() {
    // `run 1` counts as 64 bytes.
    let layer = IdempotencyLayer::new().with_max_bytes(128);
    let stack = layer.layer(counts());
    for key in ["a", "b", "c"] {
        text_of(stack.clone(), keyed(key, 1)).await;
    }
    assert_eq!(layer.keys(), 2);
    assert_eq!(text_of(stack.clone(), keyed("b", 1)).await, "run 2");
    assert_eq!(text_of(stack, keyed("a", 1)).await, "run 4");
}

#[tokio::test(start_paused = true)]
async fn call_whose_response_is_too_large_to_share_does_not_run_again() {
    let large = || ToolOutput::contents(vec!["x".repeat(65).into(), "y".repeat(65).into()]);
    let buffered = ScriptedTool::new(move |_| async move { Ok(large()) });
    let streaming =
        ScriptedTool::new(move |_| async move { Ok(ToolOutput::stream(large().into_stream())) });
    for tool in [buffered, streaming] {
        let stack = IdempotencyLayer::new()
            .with_max_response_bytes(129)
            .layer(tool.clone());
        let first = tokio::spawn(text_of(stack.clone(), keyed("a", 1)));
        assert_eq!(first.await.unwrap().len(), 130);
        for _ in 0..2 {
            let error = error_of(stack.clone(), keyed("a", 1)).await;
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Tool, false)
            );
            assert_eq!(error.layer(), Some("idempotency"));
        }
        assert_eq!(tool.probe().started(), 1);
    }
}

/// Empty contents, metadata and depth.
#[tokio::test(start_paused = true)]
async fn whatever_makes_a_response_large_is_bounded() {
    let empty = || vec![Content::from(""); 17];
    let tools = [
        ScriptedTool::new(move |_| async move { Ok(ToolOutput::contents(empty())) }),
        ScriptedTool::new(move |_| async move {
            Ok(ToolOutput::stream(
                ToolOutput::contents(empty()).into_stream(),
            ))
        }),
        ScriptedTool::new(|_| async {
            Ok(ToolOutput::text("text").with_meta("key", "x".repeat(1_024)))
        }),
        ScriptedTool::new(|_| async {
            Ok(ToolOutput::contents(vec![Content::Json(deep_value())]))
        }),
    ];
    for tool in tools {
        let layer = IdempotencyLayer::new().with_max_response_bytes(1_024);
        let stack = layer.layer(tool.clone());
        let response = stack.clone().oneshot(keyed("a", 1)).await.unwrap();
        response.collect().await.unwrap();
        let error = error_of(stack, keyed("a", 1)).await;
        assert_eq!(
            (error.kind(), error.layer()),
            (ErrorKind::Tool, Some("idempotency"))
        );
        assert_eq!(tool.probe().started(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn arguments_that_nest_ten_thousand_deep_are_a_typed_error() {
    let layer = IdempotencyLayer::new();
    let call = ToolCall::new("tool", deep_value()).with_idempotency_key("a");
    let error = error_of(layer.layer(counts()), call).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert_eq!(
        (error.layer(), error.started()),
        (Some("idempotency"), false)
    );
    assert_eq!(layer.keys(), 0);
}

fn deep_value() -> Value {
    (0..10_000).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

#[tokio::test(start_paused = true)]
async fn long_key_is_rejected() {
    let stack = IdempotencyLayer::new().layer(counts());
    let text = text_of(stack.clone(), keyed(&"k".repeat(256), 1)).await;
    assert_eq!(text, "run 1");
    let error = error_of(stack, keyed(&"k".repeat(257), 1)).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert_eq!(
        (error.layer(), error.started()),
        (Some("idempotency"), false)
    );
}

#[tokio::test(start_paused = true)]
async fn debug_shows_the_bounds_and_no_keys() {
    let layer = IdempotencyLayer::new().with_lifetime(Duration::from_secs(1));
    let stack = layer.layer(counts());
    text_of(stack, keyed("secret", 1)).await;
    let debug = format!("{layer:?}");
    assert!(
        debug.contains("keys: 1") && debug.contains("lifetime: 1s"),
        "{debug}"
    );
    assert!(!debug.contains("secret"), "{debug}");
}
