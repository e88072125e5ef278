//! The gate decides before the layers of a tool.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use toolbooth::{CancelReason, ConcurrencyLimitLayer, DenyReason, TimeoutScope};
use toolbooth_test::{Stopwatch, cancel_reason, timeout_of};
use tower::{Layer, Service, ServiceExt};

use super::*;

/// A toolbox with this gate and one tool, whose log it returns as well.
fn gated<F, Fut>(decide: F) -> (Toolbox, ScriptedTool)
where
    F: Fn(GateRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Denied>> + Send + 'static,
{
    let tool = ScriptedTool::ready();
    let toolbox = Toolbox::builder()
        .tool("work", tool.handle())
        .gate(decide)
        .build();
    (toolbox.expect("one tool"), tool)
}

fn scope(error: &ToolError) -> TimeoutScope {
    timeout_of(error).expect("a timeout").0
}

fn reason(error: &ToolError) -> &DenyReason {
    match error {
        ToolError::Denied { reason, .. } => reason,
        other => unreachable!("not denied: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn denied_call_never_runs_and_its_client_may_read_why() {
    let (toolbox, tool) = gated(async |_| Err(Denied::new("read-only mode")));
    let error = error_of(toolbox, call("work")).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(reason(&error), &DenyReason::decided("read-only mode"));
    assert_eq!(error.to_string(), "denied: read-only mode (by `gate`)");
    assert_eq!(
        error.public_message(),
        "the call was denied: read-only mode"
    );
    assert_eq!((error.started(), error.is_retryable()), (false, false));
    assert_eq!(
        (error.outcome(), error.tool()),
        (Outcome::Rejected, Some("work"))
    );
    assert!(tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn gate_sees_the_tool_the_arguments_and_the_context() {
    let seen = Recorder::new();
    let record = seen.clone();
    let toolbox = Toolbox::builder()
        .tool(
            ToolSpec::new("work").with_annotations(ToolAnnotations::new().with_read_only(true)),
            says("done"),
        )
        .gate(move |request| {
            record.record(format!("{request:?}"));
            let tenant = request.context().tenant().unwrap_or_default().to_owned();
            let arguments = request.args().clone();
            let is_read_only = request.spec().annotations().is_read_only();
            record.record(format!("{tenant} {arguments} {is_read_only}"));
            ready(Ok(()))
        })
        .build()
        .unwrap();
    let call = ToolCall::new("work", json!({ "secret": 7 })).with_tenant("acme");
    assert_eq!(text_of(toolbox, call.with_id("call-1")).await, "done");
    let [debug, seen] = seen.values().try_into().unwrap();
    assert_eq!(seen, "acme {\"secret\":7} true");
    assert!(
        debug.starts_with("GateRequest") && !debug.contains("secret"),
        "{debug}"
    );
}

/// A call that waits for the gate holds no permit, and the timeout of its tool has not begun.
#[tokio::test(start_paused = true)]
async fn waiting_call_holds_nothing_of_its_tool() {
    let limit = ConcurrencyLimitLayer::new(1);
    let toolbox = Toolbox::builder()
        .tool("work", says("done"))
        .layer(limit.clone())
        .with_timeout(ms(100))
        .gate(|_| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        })
        .build()
        .unwrap();
    let watch = Stopwatch::start();
    let waiting = tokio::spawn(text_of(toolbox, call("work")));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    assert_eq!(waiting.await.unwrap(), "done");
    assert_eq!(watch.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn gate_without_a_decision_denies_after_ten_minutes() {
    let (toolbox, tool) = gated(|_| pending());
    let watch = Stopwatch::start();
    let error = error_of(toolbox, call("work")).await;
    assert_eq!(watch.elapsed(), Duration::from_secs(600));
    assert_eq!(
        reason(&error),
        &DenyReason::no_decision(Duration::from_secs(600))
    );
    assert_eq!(
        error.to_string(),
        "denied: the gate did not decide within 600s (by `gate`)"
    );
    assert_eq!(error.public_message(), "the call was not approved");
    assert!(!error.started() && tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn limit_of_the_gate_is_a_setting_for_each_tool() {
    let toolbox = Toolbox::builder()
        .tool("short", says("done"))
        .tool("zero", says("done"))
        .tool("endless", says("done"))
        .gate(|request| async move {
            if request.args().is_null() {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            }
            Ok(())
        })
        .with_gate_limit(
            PerTool::new(ms(5))
                .with("zero", Duration::ZERO)
                .with("endless", None),
        )
        .build()
        .unwrap();
    let calls = ["short", "zero", "endless"].map(call);
    let finished = call_all(toolbox.clone(), calls).await;
    let at = finished.iter().map(|finished| finished.at);
    let at: Vec<Duration> = at.collect();
    assert_eq!(at, [ms(5), ms(0), Duration::from_secs(3_600)]);
    let kinds = finished.iter().map(Finished::error_kind);
    let denied = Some(ErrorKind::Denied);
    assert_eq!(kinds.collect::<Vec<_>>(), [denied, denied, None]);
    // A limit of zero admits what is decided at the first poll.
    assert_eq!(
        text_of(toolbox, ToolCall::new("zero", json!(1))).await,
        "done"
    );
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_caller_ends_the_wait() {
    let (toolbox, tool) = gated(|_| pending());
    let watch = Stopwatch::start();
    let deadline = Instant::now() + ms(250);
    let error = error_of(toolbox.clone(), call("work").with_deadline(deadline)).await;
    assert_eq!(watch.elapsed(), ms(250));
    assert_eq!(scope(&error), TimeoutScope::Deadline);
    assert_eq!((error.started(), error.layer()), (false, Some("gate")));

    // A deadline that has passed does not ask.
    let error = error_of(toolbox, call("work").with_deadline(deadline)).await;
    assert_eq!(scope(&error), TimeoutScope::Deadline);
    assert!(tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn decision_at_the_deadline_does_not_start_the_tool() {
    let (toolbox, tool) = gated(|_| async {
        tokio::time::sleep(ms(250)).await;
        Ok(())
    });
    let deadline = Instant::now() + ms(250);
    let error = error_of(toolbox.clone(), call("work").with_deadline(deadline)).await;
    assert_eq!(scope(&error), TimeoutScope::Deadline);
    assert!(tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_reports_that_the_call_only_waited() {
    let (toolbox, tool) = gated(|_| pending());
    let stack = TimeoutLayer::new(ms(300)).layer(toolbox);
    let error = error_of(stack, call("work")).await;
    assert_eq!(scope(&error), TimeoutScope::Total);
    assert_eq!((error.started(), error.queue()), (false, Some("gate")));
    assert!(tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn gate_that_panics_denies_the_call() {
    let (in_call, tool) =
        gated(|_| -> std::future::Ready<Result<(), Denied>> { panic!("no such mode") });
    let (in_future, other) = gated(|_| async {
        tokio::task::yield_now().await;
        panic!("no such mode")
    });
    for toolbox in [in_call, in_future] {
        let error = error_of(toolbox, call("work")).await;
        assert_eq!(reason(&error), &DenyReason::panicked("no such mode"));
        assert_eq!(
            error.to_string(),
            "denied: the gate panicked: no such mode (by `gate`)"
        );
        assert_eq!(error.public_message(), "the call was not approved");
        assert!(!error.started());
    }
    assert!(tool.log().calls.is_empty() && other.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropped_and_cancelled_calls_drop_the_future_of_the_gate() {
    let (asked, dropped) = (Recorder::new(), Recorder::new());
    let (record, drops) = (asked.clone(), dropped.clone());
    let (toolbox, tool) = gated(move |_| {
        record.record(());
        let drops = drops.clone();
        async move {
            let _recorded = support::on_drop(move || drops.record(()));
            pending().await
        }
    });
    let waiting = tokio::spawn(toolbox.clone().oneshot(call("work")));
    tokio::task::yield_now().await;
    assert_eq!((asked.len(), dropped.len()), (1, 0));
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(dropped.len(), 1);

    let cancelled = call("work");
    let canceller = cancelled.canceller();
    let waiting = tokio::spawn(error_of(toolbox, cancelled));
    tokio::task::yield_now().await;
    canceller.cancel();
    let error = waiting.await.unwrap();
    assert_eq!(cancel_reason(&error), Some(CancelReason::Explicit));
    assert_eq!((error.started(), asked.len(), dropped.len()), (false, 2, 2));
    assert!(tool.log().calls.is_empty());
}

/// The future of the gate is dropped before the tool is called, so the tool owns its arguments.
#[tokio::test(start_paused = true)]
async fn gate_is_over_when_the_tool_is_called() {
    let over = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&over);
    let tool = service_fn(move |_: ToolCall| {
        let is_over = over.load(Ordering::SeqCst);
        ready(Ok::<_, ToolError>(ToolOutput::text(format!("{is_over}"))))
    });
    let toolbox = Toolbox::builder()
        .tool("work", tool)
        .gate(move |_| {
            let set = Arc::clone(&set);
            let until_dropped = support::on_drop(move || set.store(true, Ordering::SeqCst));
            // Unlike a block, it keeps what it owns after its completion.
            std::future::poll_fn(move |_| {
                let _ = &until_dropped;
                Poll::Ready(Ok(()))
            })
        })
        .build()
        .unwrap();
    assert_eq!(text_of(toolbox, call("work")).await, "true");
}

/// A person receives a question through a channel.
#[tokio::test(start_paused = true)]
async fn person_decides_about_a_call_that_waits() {
    let (questions, mut inbox) = tokio::sync::mpsc::channel(1);
    let (toolbox, tool) = gated(move |request: GateRequest| {
        let questions = questions.clone();
        async move {
            let (decide, decision) = oneshot::channel::<bool>();
            let question = (request.spec().name().to_owned(), decide);
            questions
                .send(question)
                .await
                .map_err(|_gone| Denied::new("no person is there"))?;
            match decision.await {
                Ok(true) => Ok(()),
                _ => Err(Denied::new("not now")),
            }
        }
    });
    for (decision, kind) in [(true, None), (false, Some(ErrorKind::Denied))] {
        let waiting = tokio::spawn(toolbox.clone().oneshot(call("work")));
        let (tool, decide) = inbox.recv().await.unwrap();
        assert_eq!(tool, "work");
        decide.send(decision).unwrap();
        let result = waiting.await.unwrap();
        assert_eq!(result.err().map(|error| error.kind()), kind);
    }
    assert_eq!(tool.log().calls.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn name_of_the_toolbox_is_the_name_of_its_gate() {
    let toolbox = Toolbox::builder()
        .tool("work", says("done"))
        .gate(async |_| Err(Denied::new("no")))
        .with_name("eu")
        .build()
        .unwrap();
    let error = error_of(toolbox.clone(), call("work")).await;
    assert_eq!(
        (error.layer(), error.layer_kind()),
        (Some("eu"), Some("gate"))
    );
    let error = error_of(toolbox, call("rest")).await;
    assert_eq!(
        (error.layer(), error.layer_kind()),
        (Some("eu"), Some("toolbox"))
    );
}

/// A tool by itself passes the gate as well.
#[tokio::test(start_paused = true)]
async fn resolved_tool_passes_the_gate() {
    let (toolbox, tool) = gated(async |_| Err(Denied::new("no")));
    let mut work = toolbox.get("work").unwrap();
    let error = work.call(call("work")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(tool.log().calls.is_empty());
}

/// The second gate does not replace the first: it decides about what the first one allows.
#[tokio::test(start_paused = true)]
async fn all_gates_have_to_allow_a_call_and_decide_in_order() {
    let asked = Recorder::new();
    let gate = |name: &'static str, denied: &'static str| {
        let asked = asked.clone();
        move |request: GateRequest| {
            let asked = asked.clone();
            async move {
                asked.record(name);
                match request.spec().name() == denied {
                    true => Err(Denied::new(name)),
                    false => Ok(()),
                }
            }
        }
    };
    let toolbox = Toolbox::builder()
        .tool("read", says("done"))
        .tool("write", says("done"))
        .tool("delete", says("done"))
        .gate(gate("mode", "delete"))
        .gate(gate("person", "write"))
        .build()
        .unwrap();

    assert!(toolbox.clone().oneshot(call("read")).await.is_ok());
    let by_person = error_of(toolbox.clone(), call("write")).await;
    let by_mode = error_of(toolbox, call("delete")).await;
    assert_eq!(reason(&by_person), &DenyReason::decided("person"));
    assert_eq!(reason(&by_mode), &DenyReason::decided("mode"));
    let order = ["mode", "person", "mode", "person", "mode"];
    assert_eq!(asked.values(), order);
}

/// The limit is on the decisions of all gates together.
#[tokio::test(start_paused = true)]
async fn limit_of_the_gate_covers_all_gates() {
    let slow = async |_: GateRequest| {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Ok(())
    };
    let toolbox = Toolbox::builder()
        .tool("work", says("done"))
        .gate(slow)
        .gate(slow)
        .with_gate_limit(Duration::from_millis(100))
        .build()
        .unwrap();
    let watch = Stopwatch::start();
    let error = error_of(toolbox, call("work")).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(watch.elapsed(), Duration::from_millis(100));
}
