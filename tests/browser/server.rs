//! Serves the page of 10,000 synthetic calls to the browser's tests.
//!
//! It prints its address, and ends when its standard input does. Routes for the tests:
//!
//! | route | effect |
//! |---|---|
//! | `/timeline/` | the page of the recorder |
//! | `/file` | the page as a file |
//! | `POST /start/{id}`, `POST /finish` | starts a call, completes all started ones |
//! | `POST /close` | closes the service |

#![expect(clippy::print_stdout, reason = "it prints its address")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, EventsLayer, PartialResultLayer,
    RetryPolicy, TimeoutLayer, ToolCall, tool_fn,
};
use toolbooth_test::{BoxTool, boxed};
use toolbooth_timeline::{Recorder, TimelineService};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

const TOOLS: [&str; 5] = ["search", "fetch", "digest", "import", "ticker"];
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const WORKERS: u64 = 100;
const CALLS: u64 = 100;
/// A name that tries to run as code, and one that changes the direction of text.
const HOSTILE: [&str; 2] = [
    "</script><script>window.hostile = 1</script><img src=x onerror='window.hostile = 2'>",
    "\u{202e}evil\u{2066}\u{0}\u{7}\u{2028}",
];

/// The calls that the tests start.
#[derive(Clone)]
struct Live {
    tool: BoxTool,
    finish: Arc<Notify>,
    recorder: Recorder,
    service: TimelineService,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let recorder = Recorder::new()
        .with_capacity(20_000)
        .with_contents()
        .with_stack(
            "search",
            "search\n└ timeout 25ms\n  └ concurrency 4\n    └ tool",
        );
    make_calls(&recorder).await?;

    let finish = Arc::new(Notify::new());
    let until = Arc::clone(&finish);
    let live = tool_fn("live", move |call: CallContext, _: ()| {
        let until = Arc::clone(&until);
        async move {
            call.emit("first item");
            until.notified().await;
            Ok::<_, BoxError>("done")
        }
    });
    let service = TimelineService::new(recorder.clone());
    let live = Live {
        tool: boxed(EventsLayer::new(recorder.clone()).layer(live)),
        finish,
        recorder,
        service: service.clone(),
    };
    let app = Router::new()
        .nest_service("/timeline", service)
        .route(
            "/file",
            get(async |State(live): State<Live>| live.recorder.snapshot().to_html()),
        )
        .route("/start/{id}", post(start))
        .route(
            "/finish",
            post(async |State(live): State<Live>| live.finish.notify_waiters()),
        )
        .route(
            "/close",
            post(async |State(live): State<Live>| live.service.close()),
        )
        .with_state(live);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        ended = input_ends() => ended?,
    }
    Ok(())
}

/// Waits on a thread until the input ends.
async fn input_ends() -> Result<(), JoinError> {
    spawn_blocking(|| io::stdin().lines().for_each(drop)).await
}

async fn start(State(live): State<Live>, Path(id): Path<String>) {
    let call = ToolCall::new("live", json!(null)).with_id(id);
    tokio::spawn(live.tool.oneshot(call));
}

/// Makes 10,000 calls of five tools, and waits for them.
async fn make_calls(recorder: &Recorder) -> Result<(), BoxError> {
    let stacks = TOOLS.map(|tool| stack(tool, recorder));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let stacks = stacks.clone();
        workers.spawn(async move {
            for n in 0..CALLS {
                let number = worker * CALLS + n;
                let tool = (number % 7 % 5) as usize;
                let call = ToolCall::new(TOOLS[tool], json!(number))
                    .with_id(format!("call-{number}"))
                    .with_tenant(TENANTS[(worker % 3) as usize]);
                // The outcomes are recorded.
                if let Ok(output) = stacks[tool].clone().oneshot(call).await {
                    let _ = output.collect().await;
                }
                sleep(Duration::from_millis(number % 13 * 3)).await;
            }
        });
    }
    workers.join_all().await;
    for name in HOSTILE {
        let hostile = tool_fn(name, async |call: CallContext, text: String| {
            call.emit(text);
            Err::<String, BoxError>(HOSTILE[0].into())
        });
        let hostile = EventsLayer::new(recorder.clone()).layer(hostile);
        let call = ToolCall::new(name, json!(name))
            .with_id(name)
            .with_tenant(name);
        let _ = hostile.oneshot(call).await;
    }
    Ok(())
}

fn stack(name: &'static str, recorder: &Recorder) -> BoxTool {
    let retry = RetryPolicy::new(2)
        .with_idempotent(name == "fetch")
        .with_backoff(Duration::from_millis(5), Duration::from_millis(10))
        .without_budget();
    boxed(
        ServiceBuilder::new()
            .layer(EventsLayer::new(recorder.clone()))
            .layer(TimeoutLayer::new(Duration::from_millis(60)))
            .layer(RetryLayer::new(retry))
            .layer(ConcurrencyLimitLayer::new(12))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(tool_fn(name, run)),
    )
}

/// Runs for some milliseconds. One call in 20 fails, a few hang.
async fn run(call: CallContext, number: u64) -> Result<String, BoxError> {
    call.on_cleanup(async |_| sleep(Duration::from_millis(2)).await);
    call.emit(format!("item of {number}"));
    let millis = match number % 97 {
        0 => 1_000,
        n => n % 9,
    };
    sleep(Duration::from_millis(millis)).await;
    match number % 20 {
        7 => Err("the tool failed".into()),
        _ => Ok(format!("result of {number}")),
    }
}
