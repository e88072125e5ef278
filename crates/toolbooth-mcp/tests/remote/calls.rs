//! Calls and their results, of both generations, as a program and over HTTP.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbooth::events::TraceContext;
use toolbooth::{
    BoxError, Content, ErrorKind, PartialResultLayer, TimeoutLayer, TimeoutScope, ToolCall,
    ToolError, UpdateKind,
};
use toolbooth_mcp::{RemoteError, RemoteServer, TIMEOUT_META_KEY};
use tower::{ServiceBuilder, ServiceExt as _};

use crate::upstream::{Upstream, serve};
use crate::{LONG, call, eventually, program, remote, tool};

/// A server of each generation over each transport.
async fn each(ct: &CancellationToken) -> Vec<(&'static str, RemoteServer)> {
    let new = serve(Upstream::default(), ct.clone()).await;
    let old = serve(Upstream::old(), ct.clone()).await;
    let connect = [
        ("2026-07-28", program("new")),
        ("2025-11-25", program("old")),
        ("2026-07-28", RemoteServer::http(new)),
        ("2025-11-25", RemoteServer::http(old)),
    ];
    let mut servers = Vec::new();
    for (version, builder) in connect {
        let server = builder.connect().await.expect("a connection");
        assert_eq!(server.status().protocol.as_deref(), Some(version));
        servers.push((version, server));
    }
    servers
}

#[tokio::test]
async fn a_call_returns_the_result_of_the_server() -> Result<(), BoxError> {
    let ct = CancellationToken::new();
    for (_, server) in each(&ct).await {
        assert_eq!(
            call(&server, "echo", json!({ "n": 1 })).await?.text(),
            r#"{"n":1}"#
        );
        for nothing in [json!(null), json!(""), json!("{}")] {
            assert_eq!(call(&server, "echo", nothing).await?.text(), "{}");
        }
        let failed = json!({ "content": [{ "type": "text", "text": "no" }], "isError": true });
        let failed = call(&server, "raw", failed).await?;
        assert!(failed.is_error());
        assert_eq!(failed.text(), "no");
        assert_eq!(server.instructions().as_deref(), Some("for tests"));
        server.close().await;
    }
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_at_the_server() -> Result<(), BoxError> {
    for upstream in [Upstream::default(), Upstream::old()] {
        let seen = Arc::clone(&upstream.seen);
        let ct = CancellationToken::new();
        let server = RemoteServer::http(serve(upstream, ct.clone()).await)
            .connect()
            .await?;
        let hang = tool(&server, "hang").oneshot(ToolCall::new("hang", json!({})));
        let hang = tokio::spawn(hang);
        eventually("it starts", || seen.started.load(Ordering::SeqCst) == 1).await;
        hang.abort();
        eventually("it is cancelled", || {
            seen.cancelled.load(Ordering::SeqCst) == 1
        })
        .await;
        assert_eq!(server.status().in_flight, 0);
        ct.cancel();
    }
    Ok(())
}

#[tokio::test]
async fn a_timeout_of_a_layer_cancels_the_call_at_a_program() -> Result<(), BoxError> {
    for kind in ["new", "old"] {
        let server = program(kind).connect().await?;
        let limit = TimeoutLayer::new(Duration::from_millis(200));
        let hang = ServiceBuilder::new()
            .layer(limit)
            .service(tool(&server, "hang"));
        let error = hang.oneshot(ToolCall::new("hang", json!({}))).await;
        let error = error.err().ok_or("it hangs")?;
        assert_eq!(
            (error.kind(), error.layer()),
            (ErrorKind::Timeout, Some("timeout"))
        );
        eventually("it is over", || server.status().in_flight == 0).await;
        assert_eq!(call(&server, "echo", json!({})).await?.text(), "{}");
    }
    Ok(())
}

#[tokio::test]
async fn every_report_of_progress_before_the_response_is_received() -> Result<(), BoxError> {
    let ct = CancellationToken::new();
    let steps: Vec<_> = (1..=50)
        .map(|n| json!({ "progress": n, "total": 50 }))
        .collect();
    for (version, server) in each(&ct).await {
        let call = ToolCall::new("progress", json!({ "steps": steps }));
        let mut updates = call.updates();
        let context = call.context().clone();
        tool(&server, "progress").oneshot(call).await?;
        let last = context.last_progress().ok_or("progress")?;
        assert_eq!((last.done(), last.total()), (50, Some(50)), "{version}");
        drop(context);
        assert!(matches!(
            updates.try_recv().map(|update| update.kind),
            Some(UpdateKind::Progress(_))
        ));
    }
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn messages_of_progress_are_the_partial_result_of_a_call_that_ends_early()
-> Result<(), BoxError> {
    let steps: Vec<_> = (1..=6)
        .map(|n| json!({ "progress": n, "message": format!("page {n}") }))
        .chain([json!({ "progress": 7 })])
        .collect();
    let ct = CancellationToken::new();
    let remote = RemoteServer::http(serve(Upstream::default(), ct.clone()).await);
    let servers = [program("new").connect().await?, remote.connect().await?];
    for (index, server) in servers.iter().enumerate() {
        let is_killed = index == 0;
        let then = if is_killed { "die" } else { "hang" };
        for max in [4, 10] {
            let layer = PartialResultLayer::new().with_max_items(max);
            let tool = ServiceBuilder::new()
                .layer(layer)
                .service(tool(server, "progress"));
            let args = json!({ "steps": steps, "then": then });
            let call = ToolCall::new("progress", args);
            let (canceller, mut updates) = (call.canceller(), call.updates());
            let made = tokio::spawn(tool.oneshot(call));
            let mut seen = Vec::new();
            while seen.len() < 7 {
                match timeout(LONG, updates.recv()).await?.ok_or("progress")?.kind {
                    UpdateKind::Progress(progress) => {
                        seen.push(progress.message().map(str::to_owned));
                    }
                    other => return Err(format!("{other:?}").into()),
                }
            }
            if !is_killed {
                canceller.cancel();
            }
            let error = timeout(LONG, made).await??.expect_err("it ends early");
            let partial = error.partial().ok_or("a partial result")?;
            let kept: Vec<_> = partial.contents().iter().map(Content::to_text).collect();
            let pages: Vec<_> = (1..=6.min(max)).map(|n| format!("page {n}")).collect();
            assert_eq!(kept, pages, "{error}");
            assert_eq!(partial.dropped(), 6_u64.saturating_sub(max.try_into()?));
        }
    }
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn progress_that_is_not_whole_is_scaled_and_never_decreases() -> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let reported = async |steps: Value| {
        let call = ToolCall::new("progress", json!({ "steps": steps }));
        let context = call.context().clone();
        tool(&server, "progress").oneshot(call).await?;
        let last = context.last_progress().ok_or("progress")?;
        let message = last.message().map(str::to_owned);
        Ok::<_, BoxError>((last.done(), last.total(), message))
    };
    let half =
        json!([{ "progress": 0, "total": 1 }, { "progress": 0.5, "total": 1, "message": "m" }]);
    assert_eq!(
        reported(half).await?,
        (500, Some(1_000), Some("m".to_owned()))
    );
    let whole = json!([{ "progress": 0.5, "total": 1 }, { "progress": 1, "total": 1 }]);
    assert_eq!(reported(whole).await?, (1_000, Some(1_000), None));
    let hostile = json!([{ "progress": 7 }, { "progress": -1 }, { "progress": 1e300 }]);
    assert_eq!(reported(hostile).await?, (u64::MAX, None, None));
    let long = "m".repeat(100_000);
    let message = reported(json!([{ "progress": 1, "message": long }]))
        .await?
        .2;
    assert_eq!(message.map(|message| message.len()), Some(4_096));
    Ok(())
}

#[tokio::test]
async fn progress_resets_the_idle_limit_of_the_server_and_of_a_layer() -> Result<(), BoxError> {
    let limit = Duration::from_millis(400);
    let server = program("new").with_idle_timeout(limit).connect().await?;
    let steps: Vec<_> = (1..=10).map(|n| json!({ "progress": n })).collect();
    let args = json!({ "steps": steps, "pause_ms": 100 });
    let layered = ServiceBuilder::new()
        .layer(TimeoutLayer::unlimited().with_idle(limit))
        .service(tool(&server, "progress"));
    let output = layered.oneshot(ToolCall::new("progress", args)).await?;
    assert_eq!(output.collect().await?.text(), "done");

    let error = call(&server, "hang", json!({}))
        .await
        .err()
        .ok_or("it is idle")?;
    assert!(matches!(
        error,
        ToolError::Timeout { scope: TimeoutScope::Idle, limit: expired, .. } if expired == limit
    ));
    Ok(())
}

#[tokio::test]
async fn the_deadline_and_the_trace_context_are_sent() -> Result<(), BoxError> {
    let ct = CancellationToken::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (_, server) in each(&ct).await {
        let trace = TraceContext::parse(parent, Some("a=1")).ok_or("valid")?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(100);
        let call = ToolCall::new("meta", json!({}))
            .with_extension(trace)
            .with_deadline(deadline);
        let meta = tool(&server, "meta")
            .oneshot(call)
            .await?
            .collect()
            .await?
            .text();
        let meta: Value = serde_json::from_str(&meta)?;
        assert_eq!(
            (&meta["traceparent"], &meta["tracestate"]),
            (&json!(parent), &json!("a=1"))
        );
        let left = meta[TIMEOUT_META_KEY].as_u64().ok_or("milliseconds")?;
        assert!((90_000..=100_000).contains(&left), "{left}");
    }
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_without_a_layer() -> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(100);
    let hang = ToolCall::new("hang", json!({})).with_deadline(deadline);
    let hang = timeout(LONG, tool(&server, "hang").oneshot(hang)).await?;
    let error = hang.err().ok_or("it hangs")?;
    assert!(matches!(
        error,
        ToolError::Timeout {
            scope: TimeoutScope::Deadline,
            ..
        }
    ));
    Ok(())
}

#[tokio::test]
async fn errors_of_the_server_keep_their_meaning() -> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let failed = async |code: i32, message: &str| {
        let made = call(
            &server,
            "error",
            json!({ "code": code, "message": message }),
        )
        .await;
        made.expect_err("an error")
    };
    let invalid = failed(-32602, "`path` is missing").await;
    assert_eq!(invalid.kind(), ErrorKind::InvalidArguments);
    assert_eq!(
        invalid.public_message(),
        "invalid arguments at `.`: `path` is missing"
    );
    assert_eq!(
        failed(-32602, "Unknown tool: x").await.kind(),
        ErrorKind::UnknownTool
    );
    let internal = failed(-32603, &"secret ".repeat(10_000)).await;
    assert_eq!(
        (internal.kind(), internal.is_retryable()),
        (ErrorKind::Tool, false)
    );
    assert_eq!(internal.public_message(), "the tool failed");
    let RemoteError::Rpc {
        code: -32603,
        message,
        ..
    } = remote(&internal)
    else {
        panic!("{internal:?}");
    };
    assert_eq!(message.len(), 2_048, "bounded");

    let input = call(&server, "input", json!({}))
        .await
        .err()
        .ok_or("it needs input")?;
    assert!(matches!(remote(&input), RemoteError::InputRequired { .. }));
    assert!(!input.is_outage());
    for unusable in [json!([1]), json!("[1]"), json!("not JSON"), json!(7)] {
        let error = call(&server, "echo", unusable)
            .await
            .err()
            .ok_or("unusable")?;
        assert_eq!(
            (error.kind(), error.started()),
            (ErrorKind::InvalidArguments, false)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_hundred_calls_run_at_once_over_http() -> Result<(), BoxError> {
    let upstream = Upstream::default();
    let seen = Arc::clone(&upstream.seen);
    let ct = CancellationToken::new();
    let server = RemoteServer::http(serve(upstream, ct.clone()).await)
        .connect()
        .await?;
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(tool(&server, "hang").oneshot(ToolCall::new("hang", json!({})))))
        .collect();
    eventually("all have started", || {
        seen.started.load(Ordering::SeqCst) == 100
    })
    .await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("all are cancelled", || {
        seen.cancelled.load(Ordering::SeqCst) == 100
    })
    .await;
    ct.cancel();
    Ok(())
}
