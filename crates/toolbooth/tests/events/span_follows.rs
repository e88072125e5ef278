//! The span of a call is current wherever the call runs.

use std::task::Poll;

use futures_util::StreamExt;
use tokio_test::{assert_pending, task};
use toolbooth::events::{EventsLayer, TracingSink};
use toolbooth::{
    BoxError, CallContext, CleanupLayer, Content, Outcome, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput, tool_fn,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tracing::Span;

use crate::recorded::Recorded;
use crate::support::{Readiness, ScriptedTool, call, error_of, ms, pass, text_of};

fn traced() -> EventsLayer {
    EventsLayer::new(TracingSink::new())
}

/// Traces its drop.
struct Dropped(&'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        tracing::info!("{} dropped", self.0);
    }
}

/// Returns the messages in the only span that are not of the sink.
fn own(recorded: &Recorded) -> Vec<String> {
    let span = recorded.only();
    let own = span
        .messages()
        .into_iter()
        .filter(|message| !message.starts_with("tool.") && !message.starts_with("cleanup."));
    own.map(ToOwned::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn call_polls_and_drop_are_in_the_span() {
    let (recorded, _guard) = Recorded::start();
    let tool = ScriptedTool::new(|_| {
        tracing::info!("called");
        let dropped = Dropped("future");
        async move {
            tracing::info!("polled");
            tokio::time::sleep(ms(1)).await;
            tracing::info!("polled again");
            drop(dropped);
            std::future::pending().await
        }
    });
    let tool = tower::service_fn(move |call: ToolCall| {
        let kept = Dropped("kept");
        let response = tool.clone().oneshot(call);
        async move {
            let _kept = kept;
            response.await
        }
    });
    let mut future = task::spawn(traced().layer(tool).oneshot(call()));
    assert_pending!(future.poll());
    pass(ms(1)).await;
    assert_pending!(future.poll());
    assert!(Span::current().is_none());
    drop(future);
    assert!(Span::current().is_none());
    let expected = [
        "called",
        "polled",
        "polled again",
        "future dropped",
        "kept dropped",
    ];
    assert_eq!(own(&recorded), expected);
}

/// A service that becomes ready later is called in the span, and a future that has completed is
/// dropped in it.
#[tokio::test(start_paused = true)]
async fn late_call_and_drop_of_a_complete_future_are_in_the_span() {
    for readiness in [Readiness::Ready, Readiness::Pending] {
        let (recorded, _guard) = Recorded::start();
        let tool = ScriptedTool::new(|_| {
            tracing::info!("called");
            let dropped = Dropped("future");
            std::future::poll_fn(move |_| {
                let _kept = &dropped;
                Poll::Ready(Ok(ToolOutput::text("done")))
            })
        });
        let tool = tool.with_readiness(readiness);
        let mut future = traced().layer(tool.handle()).call(call());
        let _pending = futures_util::poll!(&mut future);
        tool.set_readiness(Readiness::Ready);
        if readiness == Readiness::Pending {
            future.await.unwrap();
        }
        assert_eq!(own(&recorded), ["called", "future dropped"]);
    }
}

/// A streaming response is polled and dropped in the span, by its consumer and by the task that
/// ends it at a limit, for both orders.
#[tokio::test(start_paused = true)]
async fn streaming_response_is_in_the_span_to_its_end() {
    let streaming = || {
        ScriptedTool::new(|_| async {
            let dropped = Dropped("stream");
            let items = futures_util::stream::unfold((0, dropped), |(at, dropped)| async move {
                tracing::info!("item {at}");
                tokio::time::sleep(ms(1_000)).await;
                Some((Ok::<_, ToolError>(Content::from("item")), (at + 1, dropped)))
            });
            Ok(ToolOutput::stream(items))
        })
    };
    let limit = TimeoutLayer::new(ms(1_500));
    for consumed in [1, 2] {
        // The consumer drops it, or does not poll it at the limit.
        let (recorded, _guard) = Recorded::start();
        let response = traced().layer(streaming()).oneshot(call()).await.unwrap();
        let mut items = response.into_stream();
        for _ in 0..consumed {
            items.next().await.unwrap().unwrap();
        }
        drop(items);
        let items = ["item 0", "item 1"].into_iter().take(consumed);
        assert_eq!(
            own(&recorded),
            items.chain(["stream dropped"]).collect::<Vec<_>>()
        );
    }
    for outside in [true, false] {
        let (recorded, _guard) = Recorded::start();
        let response = match outside {
            true => {
                traced()
                    .layer(limit.layer(streaming()))
                    .oneshot(call())
                    .await
            }
            false => {
                limit
                    .layer(traced().layer(streaming()))
                    .oneshot(call())
                    .await
            }
        };
        let mut items = response.unwrap().into_stream();
        items.next().await.unwrap().unwrap();
        // The task of the limit polls the stream once more, and drops it.
        pass(ms(600)).await;
        let seen = ["item 0", "item 1", "stream dropped"];
        let spans = recorded.spans();
        let messages = spans[0].messages();
        let own = messages
            .into_iter()
            .filter(|message| !message.contains("tool") && !message.contains("timed"));
        assert_eq!(own.collect::<Vec<_>>(), seen, "{outside}");
        items.next().await.unwrap().unwrap_err();
        drop(items);
        assert_eq!(recorded.only().get("error.type"), Some("timeout"));
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_work_is_in_the_span() {
    let (recorded, dispatch) = Recorded::new();
    let _guard = tracing::dispatcher::set_default(&dispatch);
    let tool = tool_fn("tool", move |call: CallContext, (): ()| {
        let dispatch = dispatch.clone();
        async move {
            call.spawn(async { tracing::info!("task") }).await?;
            // The other thread has no subscriber, but the span has its own.
            let blocking = call.spawn_blocking(move |_| {
                let _guard = tracing::dispatcher::set_default(&dispatch);
                tracing::info!("blocking");
            });
            blocking.await?;
            let _unawaited = call.spawn(async {
                let _dropped = Dropped("task");
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
            Ok::<_, ToolError>("done")
        }
    });
    text_of(traced().layer(SpawnLayer::new().layer(tool)), call()).await;
    // The runtime drops the aborted task.
    tokio::task::yield_now().await;
    assert_eq!(own(&recorded), ["task", "blocking", "task dropped"]);
}

#[tokio::test(start_paused = true)]
async fn task_of_a_spawn_layer_is_in_the_span_in_both_orders() {
    let tool = || {
        ScriptedTool::new(|_| async {
            tokio::task::yield_now().await;
            tracing::info!("on the task");
            Ok(ToolOutput::text("done"))
        })
    };
    let (recorded, _guard) = Recorded::start();
    text_of(traced().layer(SpawnLayer::new().layer(tool())), call()).await;
    assert_eq!(own(&recorded), ["on the task"]);
    let (recorded, _guard) = Recorded::start();
    text_of(SpawnLayer::new().layer(traced().layer(tool())), call()).await;
    assert_eq!(own(&recorded), ["on the task"]);
}

/// Hooks run in the span that was current when they were registered. So they are in the span of
/// the call whatever runs them, and it closes after them.
#[tokio::test(start_paused = true)]
async fn hooks_are_in_the_span_in_which_they_were_registered() {
    let tool = || {
        tool_fn("tool", async |call: CallContext, _: ()| {
            call.on_cleanup(|_| {
                tracing::info!("hook called");
                async {
                    tokio::time::sleep(ms(1_000)).await;
                    tracing::info!("hook polled");
                }
            });
            let own = tracing::info_span!("own");
            own.in_scope(|| call.on_cleanup(|outcome| async move { tracing::info!("{outcome}") }));
            Ok::<_, BoxError>("done")
        })
    };
    let cleanup = CleanupLayer::new();
    for order in 0..3 {
        let (recorded, _guard) = Recorded::start();
        let response = match order {
            0 => text_of(traced().layer(cleanup.layer(tool())), call()).await,
            1 => text_of(cleanup.layer(traced().layer(tool())), call()).await,
            // No layer runs the hooks: a task of their own does.
            _ => text_of(traced().layer(tool()), call()).await,
        };
        assert_eq!(response, "done");
        let of_call = |recorded: &Recorded| recorded.spans()[0].clone();
        assert_eq!(
            (of_call(&recorded).closed, recorded.open()),
            (0, 2),
            "{order}"
        );
        assert_eq!(
            of_call(&recorded).get("toolbooth.outcome"),
            Some("completed")
        );
        tokio::time::sleep(ms(1_001)).await;
        let spans = recorded.spans();
        assert_eq!((spans.len(), recorded.open()), (2, 0), "{order}");
        let messages = spans[0].messages();
        let hooks = messages
            .into_iter()
            .filter(|message| message.starts_with("hook"));
        assert_eq!(hooks.collect::<Vec<_>>(), ["hook called", "hook polled"]);
        assert_eq!(spans[1].messages(), [Outcome::Completed.as_str()]);
        assert!(spans.iter().all(|span| span.closed == 1), "{spans:#?}");
    }
}

/// What the end of the call traces is in the span, however it ends.
#[tokio::test(start_paused = true)]
async fn failure_of_a_hook_is_traced_in_the_span() {
    let fails = ScriptedTool::new(|_| async { Err("down".into()) });
    for tool in [ScriptedTool::ready(), fails] {
        let (recorded, _guard) = Recorded::start();
        let call = call();
        // Registered outside of the span.
        let hook = |_| async { std::panic::resume_unwind(Box::new("boom")) };
        call.context().on_cleanup(hook);
        let _ = traced().layer(tool).oneshot(call).await;
        tokio::time::sleep(ms(1)).await;
        assert_eq!(own(&recorded), ["a cleanup hook failed"]);
    }
}

/// The span of the caller is not entered by anything of the call after its end.
#[tokio::test(start_paused = true)]
async fn hook_without_a_span_runs_without_one() {
    let (recorded, _guard) = Recorded::start();
    let tool = tool_fn("tool", async |call: CallContext, _: ()| {
        call.on_cleanup(|_| async { assert!(Span::current().is_none()) });
        Ok::<_, BoxError>("done")
    });
    let cleanup = CleanupLayer::new();
    text_of(cleanup.layer(tool), call()).await;
    let report = cleanup.drain(ms(1_000)).await;
    assert_eq!(
        (report.ran, report.failed, recorded.spans().len()),
        (1, 0, 0)
    );
}

/// A program that ignores SIGTERM is killed after the end of its call, and the span closes then.
#[cfg(unix)]
#[tokio::test]
async fn program_is_supervised_in_the_span() {
    let (recorded, _guard) = Recorded::start();
    let program = toolbooth::CommandTool::new("sh", "sh")
        .with_args(["-c", "trap '' TERM; while :; do sleep 0.01; done"])
        .unwrap()
        .with_inherited_env(["PATH"])
        .with_kill_grace(ms(20));
    let tool = ServiceBuilder::new()
        .layer(traced())
        .layer(TimeoutLayer::new(ms(100)))
        .service(program);
    error_of(tool, call()).await;
    while recorded.open() > 0 {
        tokio::time::sleep(ms(1)).await;
    }
    let killed = "killing a process group that did not end within its grace";
    assert_eq!(own(&recorded), ["timed out", killed]);
}
