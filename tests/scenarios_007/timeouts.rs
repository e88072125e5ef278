//! Time limits (guarantees T1 to T7).

use std::future::pending;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::coop::consume_budget;
use toolbooth::{ConcurrencyLimitLayer, OverloadReason, PerTool};
use toolbooth_test::{Probe, overload_reason};
use tower::retry::RetryLayer;
use tower::{ServiceBuilder, service_fn};

use super::*;

/// T1.
#[tokio::test(start_paused = true)]
async fn limit_of_the_call_precedes_that_of_the_tool_and_that_of_the_layer() {
    let limits = PerTool::new(ms(1_000))
        .with("db", ms(500))
        .with("file", None);
    let tool = boxed(TimeoutLayer::new(limits).layer(SlowTool::new(ms(60_000))));
    for (call, limit) in [
        (call("other"), 1_000),
        (call("db"), 500),
        (call("db").with_timeout(ms(2_000)), 2_000),
        (call("db").with_timeout(ms(100)), 100),
        (call("other").with_timeout(ms(2_000)), 2_000),
        (call("file").with_timeout(ms(300)), 300),
    ] {
        assert_timed_out(&finish(tool.clone(), call).await, ms(limit));
    }
    let unlimited = finish(tool, call("file")).await;
    assert_eq!((unlimited.is_ok(), unlimited.at), (true, ms(60_000)));
}

/// T1.
#[tokio::test(start_paused = true)]
async fn deadline_caps_every_limit() {
    let limits = PerTool::new(ms(1_000)).with("db", ms(500));
    let tool = boxed(TimeoutLayer::new(limits).layer(SlowTool::new(ms(60_000))));
    for (name, own, within, scope, limit) in [
        ("db", None, 300, TimeoutScope::Deadline, 300),
        ("db", None, 501, TimeoutScope::Total, 500),
        ("other", None, 800, TimeoutScope::Deadline, 800),
        ("db", Some(ms(5_000)), 800, TimeoutScope::Deadline, 800),
    ] {
        let mut call = call(name).with_deadline(Instant::now() + ms(within));
        if let Some(own) = own {
            call = call.with_timeout(own);
        }
        let finished = finish(tool.clone(), call).await;
        let expected = (scope, ms(limit), ms(limit));
        assert_eq!(timeout(&finished), Some(expected));
        assert_eq!(finished.at, ms(limit));
    }
}

/// T2.
#[tokio::test(start_paused = true)]
async fn limits_of_5_s_for_db_10_s_for_api_and_30_s_for_file() {
    let limits = PerTool::none()
        .with("db", ms(5_000))
        .with("file", ms(30_000))
        .with("api", ms(10_000));
    let run = async |work: Duration, within: Option<Duration>| {
        let tool = TimeoutLayer::new(limits.clone()).layer(SlowTool::new(work));
        let calls = ["db", "api", "file"].map(|name| match within {
            Some(within) => call(name).with_deadline(Instant::now() + within),
            None => call(name),
        });
        let finished = call_all(tool, calls).await;
        finished
            .into_iter()
            .map(|finished| (finished.at, timeout(&finished).map(|(scope, ..)| scope)))
            .collect::<Vec<_>>()
    };
    let (total, deadline) = (Some(TimeoutScope::Total), Some(TimeoutScope::Deadline));
    assert_eq!(
        run(ms(6_000), None).await,
        [(ms(5_000), total), (ms(6_000), None), (ms(6_000), None)]
    );
    assert_eq!(
        run(ms(20_000), None).await,
        [(ms(5_000), total), (ms(10_000), total), (ms(20_000), None)]
    );
    assert_eq!(
        run(ms(20_000), Some(ms(8_000))).await,
        [
            (ms(5_000), total),
            (ms(8_000), deadline),
            (ms(8_000), deadline)
        ]
    );
}

/// T3.
#[tokio::test(start_paused = true)]
async fn wait_and_work_have_separate_limits_and_the_total_covers_both() {
    // One call runs for 300 ms while the other waits.
    let run = async |total: Option<Duration>, wait: Option<Duration>, work: Option<Duration>| {
        let permits = ConcurrencyLimitLayer::new(1);
        let permits = match wait {
            Some(wait) => permits.with_max_wait(wait),
            None => permits,
        };
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(total))
            .layer(permits.clone())
            .layer(TimeoutLayer::new(work))
            .service(tool_fn("work", async |takes: u64| {
                sleep(ms(takes)).await;
                Ok::<_, Infallible>("done")
            }));
        let calls = [300, 1_000].map(|takes| ToolCall::new("work", json!(takes)));
        let mut finished = call_all(tool, calls).await;
        assert_eq!((finished[0].is_ok(), finished[0].at), (true, ms(300)));
        assert_eq!((permits.available(), permits.queued()), (1, 0));
        finished.remove(1)
    };

    let done = run(None, None, None).await;
    assert_eq!((done.is_ok(), done.at), (true, ms(1_300)));

    let waited = run(None, Some(ms(200)), None).await;
    assert_eq!(waited.at, ms(200));
    let reason = overload_reason(&waited.result.unwrap_err());
    assert_eq!(reason, Some(OverloadReason::waited_too_long(ms(200))));

    // The limit of the work starts with the permit.
    let worked = run(None, Some(ms(301)), Some(ms(500))).await;
    assert_eq!(worked.at, ms(800));
    assert_eq!(
        timeout(&worked),
        Some((TimeoutScope::Total, ms(500), ms(800)))
    );

    // Outside of the queue it expires in the wait as in the work.
    assert_timed_out(&run(Some(ms(301)), None, Some(ms(500))).await, ms(301));
    assert_timed_out(&run(Some(ms(600)), None, None).await, ms(600));
}

/// T3.
#[tokio::test(start_paused = true)]
async fn total_limit_expires_in_the_queue() {
    let permits = ConcurrencyLimitLayer::new(1);
    let tool = SlowTool::new(ms(1_000));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(PerTool::none().with("hasty", ms(250))))
        .layer(permits.clone())
        .service(tool.clone());
    let finished = call_all(stack, [call("patient"), call("hasty")]).await;
    assert_eq!((finished[0].is_ok(), finished[0].at), (true, ms(1_000)));
    assert_timed_out(&finished[1], ms(250));
    assert_eq!(tool.probe().started(), 1);
    assert_eq!((permits.available(), permits.queued()), (1, 0));
}

/// T4: with 300 ms for each attempt and 1 s for the call, the fourth attempt has the rest.
#[tokio::test(start_paused = true)]
async fn attempts_and_the_call_have_separate_limits() {
    let tool = SlowTool::new(ms(5_000));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(1_000)))
        .layer(RetryLayer::new(Retries::new(u32::MAX)))
        .layer(TimeoutLayer::new(ms(300)))
        .service(tool.clone());
    let finished = finish(boxed(stack), call("slow")).await;
    assert_timed_out(&finished, ms(1_000));
    assert_eq!((tool.probe().started(), tool.probe().running()), (4, 0));
}

/// T5.
#[tokio::test(start_paused = true)]
async fn no_limit_and_a_limit_of_zero() {
    let hour = ms(3_600_000);
    for layer in [
        TimeoutLayer::unlimited(),
        TimeoutLayer::new(Duration::MAX),
        TimeoutLayer::new(None),
    ] {
        let finished = finish(boxed(layer.layer(SlowTool::new(hour))), call("slow")).await;
        assert_eq!((finished.is_ok(), finished.at), (true, hour));
    }
    // The call can remove the limit of the layer.
    let lifted = call("slow").with_timeout(Duration::MAX);
    let tool = boxed(TimeoutLayer::new(ms(1_000)).layer(SlowTool::new(hour)));
    let finished = finish(tool, lifted).await;
    assert_eq!((finished.is_ok(), finished.at), (true, hour));

    let zero = TimeoutLayer::new(Duration::ZERO);
    let at_once = tool_fn("at once", async |(): ()| Ok::<_, Infallible>("done"));
    let finished = finish(boxed(zero.layer(at_once)), call("at once")).await;
    assert_eq!((finished.is_ok(), finished.at), (true, ms(0)));
    let tool = boxed(zero.layer(SlowTool::new(ms(1))));
    assert_timed_out(&finish(tool, call("slow")).await, ms(0));
}

/// T6.
#[tokio::test(start_paused = true)]
async fn timeout_error_of_a_tool_is_no_timeout_of_a_layer() {
    let tool = booth(ms(3_000)).wrap(ErrorInjectionTool::new());
    let own = ToolCall::new(
        "inject",
        ErrorInjectionTool::args(InjectedError::Timeout, ms(0)),
    );
    let finished = finish(tool, own).await;
    let error = finished.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Tool, Outcome::Failed)
    );
    assert_eq!(injected(&error), Some(InjectedError::Timeout));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "simulated timeout error");
    assert!(!error.is_retryable());

    // So is that of tokio, which a tool returns that limits its own steps.
    let bounded = tool_fn("bounded", async |(): ()| {
        tokio::time::timeout(ms(100), pending::<()>()).await
    });
    let finished = finish(booth(ms(3_000)).wrap(bounded), call("bounded")).await;
    assert_eq!(finished.error_kind(), Some(ErrorKind::Tool));
    assert_eq!(finished.at, ms(100));

    let ours = booth(ms(3_000)).wrap(SlowTool::new(ms(5_000)));
    assert_timed_out(&finish(ours, call("slow")).await, ms(3_000));
}

/// Loops over a resource that is always ready: it never waits, it only exhausts the cooperative
/// budget of its task.
async fn always_ready(name: &str, lasts: Duration) {
    let started = Instant::now();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let semaphore = Semaphore::new(1);
    while started.elapsed() < lasts {
        match name {
            "budget" => consume_budget().await,
            "channel" => {
                sender.send(()).expect("the receiver exists");
                receiver.recv().await.expect("the sender exists");
            }
            _ => drop(semaphore.acquire().await),
        }
    }
}

/// T7, on the real clock: a paused clock does not advance while a task is ready.
#[tokio::test]
async fn tool_that_only_exhausts_its_budget_times_out() {
    for name in ["budget", "channel", "semaphore"] {
        let probe = Probe::new();
        let inside = probe.clone();
        let tool = tool_fn("busy", move |call: CallContext, (): ()| {
            let inside = inside.enter();
            async move {
                always_ready(call.tool(), ms(1_500)).await;
                drop(inside);
                Ok::<_, Infallible>("done")
            }
        });
        let alone = boxed(TimeoutLayer::new(ms(50)).layer(tool.clone()));
        for stack in [alone, booth(ms(50)).wrap(tool)] {
            let finished = finish(stack, call(name)).await;
            assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout), "{name}");
            assert!(finished.at >= ms(50), "{name}: {:?}", finished.at);
            assert!(finished.at < ms(1_500), "{name}: {:?}", finished.at);
            assert_eq!(probe.running(), 0, "{name}");
        }
    }
}

/// T7, control: the timeout of tower does not expire.
#[tokio::test]
async fn tower_timeout_does_not_expire_for_a_tool_that_only_exhausts_its_budget() {
    let tool = service_fn(async |_: ToolCall| {
        always_ready("budget", ms(200)).await;
        Ok::<_, ToolError>(ToolOutput::text("done"))
    });
    let tool = tower::timeout::TimeoutLayer::new(ms(50)).layer(tool);
    assert!(tool.oneshot(call("busy")).await.is_ok());
}
