//! `ToolCall::updates`: what a caller receives while its call runs, and when the stream ends.

#![cfg(all(
    feature = "group",
    feature = "handler",
    feature = "http",
    feature = "retry",
    feature = "toolbox"
))]

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod readers;

use std::num::NonZeroU32;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use support::{ScriptedTool, call, error_of, ms, text_of};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallGroup, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, Quota, RateLimitLayer,
    RetryPolicy, SpawnLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput, ToolRequest, ToolSpec,
    Toolbox, Update, UpdateKind, Updates,
};
use toolbooth_test::{BoxTool, boxed};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// The attempt of an update and what it is, as a short text.
fn text(Update { attempt, kind, .. }: &Update) -> String {
    match kind {
        UpdateKind::Item(item) => format!("{attempt} {}", item.to_text()),
        UpdateKind::Snapshot(snapshot) => format!("{attempt} = {}", snapshot.to_text()),
        UpdateKind::Progress(progress) => format!("{attempt} {} done", progress.done()),
        UpdateKind::Heartbeat => format!("{attempt} beat"),
        UpdateKind::Lagged(missed) => format!("{attempt} {missed} missed"),
        other => format!("{attempt} {other:?}"),
    }
}

/// Reads updates on a task of its own until the stream ends. Returns each with its time in
/// milliseconds, and the time of the end.
fn read(mut updates: Updates) -> JoinHandle<Vec<(u128, String)>> {
    let start = Instant::now();
    tokio::spawn(async move {
        let mut read = Vec::new();
        loop {
            let next = updates.recv().await;
            let at = start.elapsed().as_millis();
            match next {
                Some(update) => read.push((at, text(&update))),
                None => {
                    read.push((at, "end".to_owned()));
                    return read;
                }
            }
        }
    })
}

fn at(expected: &[(u128, &str)]) -> Vec<(u128, String)> {
    let owned = expected.iter().map(|&(at, text)| (at, text.to_owned()));
    owned.collect()
}

/// A tool that publishes in steps of 10 ms, and returns `done` after 50 ms.
fn publishing() -> ScriptedTool {
    ScriptedTool::new(async |call| {
        let context = call.context();
        context.emit("a");
        sleep(ms(10)).await;
        context.progress(1, 2, None);
        sleep(ms(10)).await;
        context.heartbeat();
        sleep(ms(10)).await;
        context.snapshot("half");
        context.emit("b");
        sleep(ms(20)).await;
        Ok(ToolOutput::text("done"))
    })
}

const PUBLISHED: [(u128, &str); 6] = [
    (0, "1 a"),
    (10, "1 1 done"),
    (20, "1 beat"),
    (30, "1 = half"),
    (30, "1 b"),
    (50, "end"),
];

fn five(tool: ScriptedTool) -> BoxTool {
    let ten = NonZeroU32::new(10).expect("not 0");
    let layers = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(RateLimitLayer::new(Quota::per_second(ten)))
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(CleanupLayer::new())
        .layer(PartialResultLayer::new());
    boxed(layers.service(tool))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn updates_come_while_the_tool_runs_and_the_stream_ends_with_the_call() {
    for service in [
        boxed(publishing()),
        five(publishing()),
        boxed(SpawnLayer::new().layer(publishing())),
        boxed(SpawnLayer::new().layer(five(publishing()))),
    ] {
        let call = call();
        let read = read(call.updates());
        assert_eq!(text_of(service, call).await, "done");
        assert_eq!(read.await.unwrap(), at(&PUBLISHED));
    }
}

/// A tool that emits the number of its attempt, and fails at each attempt before `succeeds_at`.
fn fails_before(succeeds_at: u32) -> ScriptedTool {
    ScriptedTool::new(move |call: ToolCall| async move {
        let attempt = call.context().attempt();
        call.context().emit(format!("try {attempt}"));
        sleep(ms(10)).await;
        match attempt < succeeds_at {
            true => Err(ToolError::failed("for now").with_retryable(true).into()),
            false => Ok(ToolOutput::text("done")),
        }
    })
}

fn retry() -> RetryLayer<RetryPolicy> {
    RetryLayer::new(RetryPolicy::new(3).with_backoff(Duration::ZERO, Duration::ZERO))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_has_all_attempts_of_a_retry_inside_of_layers_and_outside_of_all() {
    let timeout = || TimeoutLayer::new(Duration::from_secs(5));
    let partial = PartialResultLayer::new;
    for retrying in [
        boxed(timeout().layer(retry().layer(fails_before(3)))),
        boxed(timeout().layer(retry().layer(partial().layer(fails_before(3))))),
        boxed(
            retry()
                .layer(timeout().layer(fails_before(3)))
                .map_err(ToolError::from),
        ),
        boxed(retry().layer(fails_before(3)).map_err(ToolError::from)),
    ] {
        let call = call();
        let read = read(call.updates());
        assert_eq!(text_of(retrying, call).await, "done");
        let expected = [
            (0, "1 try 1"),
            (10, "2 try 2"),
            (20, "3 try 3"),
            (30, "end"),
        ];
        assert_eq!(read.await.unwrap(), at(&expected));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_of_a_toolbox_has_the_updates_of_its_tool() {
    let toolbox = Toolbox::builder()
        .tool(ToolSpec::new("tool"), five(publishing()))
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .build();
    let call = call();
    let read = read(call.updates());
    assert_eq!(text_of(toolbox.unwrap(), call).await, "done");
    assert_eq!(read.await.unwrap(), at(&PUBLISHED));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_call_of_a_group_has_its_own_updates() {
    let tool = ScriptedTool::new(async |call| {
        let item = call.args().as_str().unwrap_or_default();
        call.context().emit(item);
        sleep(ms(10)).await;
        Ok(ToolOutput::text(item))
    });
    let calls = ["a", "b", "c"].map(|item| ToolCall::new("tool", item.into()));
    let reads = calls.each_ref().map(|call| read(call.updates()));
    let group = CallGroup::new().with_concurrency(2);
    let outcomes = group.all(TimeoutLayer::new(ms(100)).layer(tool), calls);
    assert!(outcomes.await.iter().all(Result::is_ok));
    let mut all = Vec::new();
    for read in reads {
        all.push(read.await.unwrap());
    }
    let expected = [
        at(&[(0, "1 a"), (10, "end")]),
        at(&[(0, "1 b"), (10, "end")]),
        at(&[(10, "1 c"), (20, "end")]),
    ];
    assert_eq!(all, expected);
}

/// A handler takes the updates of a request from its context, before it calls the service.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn http_request_has_updates() {
    let service = TimeoutLayer::new(ms(100)).layer(service_fn(async |mut request: Request<()>| {
        let context = request.context();
        context.emit("a");
        sleep(ms(10)).await;
        request.context().progress(1, None, None);
        Ok::<_, ToolError>(Response::new("done".to_owned()))
    }));
    let mut request = Request::new(());
    let read = read(request.context().updates());
    let response = service.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "done");
    let expected = [(0, "1 a"), (10, "1 1 done"), (10, "end")];
    assert_eq!(read.await.unwrap(), at(&expected));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn child_call_has_updates_of_its_own() {
    let inner = TimeoutLayer::new(ms(100)).layer(publishing());
    let outer = ScriptedTool::new(move |call: ToolCall| {
        let inner = inner.clone();
        async move {
            let child = call.context().child("tool", serde_json::Value::Null)?;
            let mut updates = child.updates();
            let forward = async {
                while let Some(update) = updates.recv().await {
                    call.context().emit(text(&update));
                }
            };
            let (response, ()) = tokio::join!(inner.oneshot(child), forward);
            Ok(response?)
        }
    });
    let call = call();
    let read = read(call.updates());
    assert_eq!(
        text_of(TimeoutLayer::new(ms(100)).layer(outer), call).await,
        "done"
    );
    let expected: Vec<_> = PUBLISHED[..5]
        .iter()
        .map(|(at, text)| (*at, format!("1 {text}")))
        .chain([(50, "end".to_owned())])
        .collect();
    assert_eq!(read.await.unwrap(), expected);
}
