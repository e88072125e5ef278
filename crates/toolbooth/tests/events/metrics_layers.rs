//! `MetricsSink` with what real layers report: hooks, retries, breakers, keys, and ends while a
//! call waits.

use std::time::Duration;

use toolbooth::{
    BoxError, BreakerPolicy, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, EventsLayer,
    PerTool, Quota, RateLimitLayer, RetryPolicy, ShutdownLayer, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput,
};
use toolbooth_test::{Script, ScriptedTool, call, call_all, ms};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::metrics::line;
use crate::recorded_metrics::Recorded;

/// A call with hooks: one that takes 10 ms, one that panics after 5 ms, and one that never ends.
fn call_with_hooks() -> ToolCall {
    let call = call("t");
    let context = call.context();
    context.on_cleanup(|_| tokio::time::sleep(ms(10)));
    context.on_cleanup(|_| async {
        tokio::time::sleep(ms(5)).await;
        unreachable!("a hook");
    });
    context.on_cleanup(|_| std::future::pending());
    call
}

#[tokio::test(start_paused = true)]
async fn hooks_are_recorded_with_their_durations() {
    let (sink, mut recorded) = Recorded::new();
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let tool = EventsLayer::new(sink).layer(cleanup.layer(ScriptedTool::ready()));
    tool.oneshot(call_with_hooks()).await.unwrap();
    cleanup.drain(ms(1_000)).await;
    assert_eq!(recorded.records("cleanup.duration{t,finished}"), [0.01]);
    // The latest hook runs first.
    assert_eq!(recorded.records("cleanup.duration{t,failed}"), [0.1, 0.005]);
    assert_eq!(recorded.all("cleanup.abandoned"), [line("{t}", 0.0)]);
    // The hooks are not part of the call.
    assert_eq!(recorded.records("gen_ai.execute_tool.duration{t}"), [0.0]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn abandoned_hooks_are_counted_and_have_no_duration() {
    let (sink, mut recorded) = Recorded::new();
    let cleanup = CleanupLayer::new();
    let tool = EventsLayer::new(sink).layer(cleanup.layer(ScriptedTool::ready()));
    tool.oneshot(call_with_hooks()).await.unwrap();
    cleanup.drain(ms(200)).await;
    assert_eq!(recorded.values("cleanup.abandoned"), [line("{t}", 3.0)]);
    assert_eq!(recorded.count("cleanup.duration"), 0);
}

/// A policy without backoff.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(Duration::ZERO, Duration::ZERO)
}

/// Fails twice, and then responds, each after 100 ms.
fn third_time() -> ScriptedTool {
    let fails = || Script::new().delay(ms(100)).fail("down");
    let responds = Script::new().delay(ms(100)).respond("up");
    ScriptedTool::scripts([fails(), fails(), responds])
}

#[tokio::test(start_paused = true)]
async fn retries_and_attempts_of_a_call_are_counted() {
    let (sink, mut recorded) = Recorded::new();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(sink))
        .layer(RetryLayer::new(at_once(3)))
        .layer(SpawnLayer::new())
        .service(third_time());
    let running = tokio::spawn(tool.oneshot(call("t").with_idempotent(true)));
    for _ in 0..3 {
        tokio::time::sleep(ms(50)).await;
        assert_eq!(recorded.values("calls.in_flight"), [line("{t}", 1.0)]);
        tokio::time::sleep(ms(50)).await;
    }
    running.await.unwrap().unwrap();
    assert_eq!(recorded.values("calls.retries"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("calls.attempts"), [line("{t}", 3.0)]);
    assert_eq!(recorded.values("calls.started"), [line("{t}", 1.0)]);
    assert_eq!(recorded.values("calls.ended"), [line("{t,completed}", 1.0)]);
    assert_eq!(recorded.records("gen_ai.execute_tool.duration{t}"), [0.3]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn call_of_a_real_retry_is_not_in_flight_between_its_attempts() {
    let (sink, mut recorded) = Recorded::new();
    let after = ToolError::rate_limited(ms(500));
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(sink))
        .layer(RetryLayer::new(at_once(2)))
        .layer(SpawnLayer::new())
        .service(ScriptedTool::scripts([
            Script::new().delay(ms(100)).fail(after),
            Script::new().delay(ms(100)).respond("up"),
        ]));
    let running = tokio::spawn(tool.oneshot(call("t").with_idempotent(true)));
    let mut in_flight = Vec::new();
    for wait in [50, 250, 350] {
        tokio::time::sleep(ms(wait)).await;
        in_flight.push(recorded.sum("calls.in_flight"));
    }
    assert_eq!(in_flight, [1.0, 0.0, 1.0]);
    running.await.unwrap().unwrap();
    assert_eq!(recorded.values("calls.in_flight"), []);
    assert_eq!(recorded.records("gen_ai.execute_tool.duration{t}"), [0.7]);
}

#[tokio::test(start_paused = true)]
async fn full_table_of_keys_of_a_layer_is_counted_by_its_name() {
    let (sink, mut recorded) = Recorded::new();
    let limit = ConcurrencyLimitLayer::by(1, |call| call.id())
        .with_key_bounds(2, ms(1_000))
        .with_name("per id")
        .with_events(sink);
    let slow = ScriptedTool::new(|_| async {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, BoxError>(ToolOutput::text("done"))
    });
    let calls = |ids: [&str; 4]| ids.map(|id| call("t").with_id(id));
    call_all(limit.layer(slow.clone()), calls(["a", "b", "c", "d"])).await;
    let once = [line("{per id,concurrency}", 1.0)];
    assert_eq!(recorded.values("limit.key_overflows"), once);
    tokio::time::sleep(ms(1_000)).await;
    call_all(limit.layer(slow), calls(["e", "f", "g", "h"])).await;
    let twice = [line("{per id,concurrency}", 2.0)];
    assert_eq!(recorded.values("limit.key_overflows"), twice);
}

#[tokio::test(start_paused = true)]
async fn breaker_is_in_one_state_after_each_change() {
    let (sink, mut recorded) = Recorded::new();
    let policy = BreakerPolicy::new().with_open_time(ms(1_000));
    let breaker = CircuitBreakerLayer::with_policy(policy)
        .with_name("github")
        .with_events(sink);
    let tool = breaker.layer(ScriptedTool::scripts([
        Script::new().fail("down"),
        Script::new().hang(),
        Script::new().respond("up"),
    ]));
    let mut states = || {
        let states = recorded.values("breaker.state");
        let label = |labels: String| labels.replace("{github,breaker,", "").replace('}', "");
        let states = states.into_iter();
        let states = states.map(|(labels, value)| format!("{} {value}", label(labels)));
        states.collect::<Vec<_>>()
    };
    // Before its first change.
    assert_eq!(states(), [""; 0]);
    breaker.trip();
    assert_eq!(states(), ["open 1"]);
    breaker.reset();
    assert_eq!(states(), ["closed 1"]);
    breaker.trip();
    tokio::time::sleep(ms(1_000)).await;
    // The probe fails.
    assert!(tool.clone().oneshot(call("t")).await.is_err());
    assert_eq!(states(), ["open 1"]);
    tokio::time::sleep(ms(1_000)).await;
    let mut probe = Box::pin(tool.clone().oneshot(call("t")));
    assert!(futures_util::poll!(&mut probe).is_pending());
    assert_eq!(states(), ["half_open 1"]);
    drop(probe);
    tool.oneshot(call("t")).await.unwrap();
    assert_eq!(states(), ["closed 1"]);
    breaker.disable();
    assert_eq!(states(), ["disabled 1"]);
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_real_breaker_are_counted_by_state() {
    let (sink, mut recorded) = Recorded::new();
    let policy = BreakerPolicy::new().with_open_time(ms(1_000));
    let breaker = CircuitBreakerLayer::per_tool(PerTool::new(policy)).with_events(sink);
    let tool = breaker.layer(ScriptedTool::ready());
    for tool in ["a", "b", "c"] {
        breaker.breaker_for(tool).unwrap().trip();
    }
    let open = |open| line("{breaker,breaker,open}", open);
    assert_eq!(recorded.values("breaker.state"), [open(3.0)]);
    tokio::time::sleep(ms(1_000)).await;
    tool.oneshot(call("b")).await.unwrap();
    assert_eq!(recorded.values("breaker.state"), [open(2.0)]);
    breaker.reset();
    assert_eq!(recorded.values("breaker.state"), []);
}

/// A key that is not used for long loses its breaker, and so its state.
#[tokio::test(start_paused = true)]
async fn forgotten_key_of_a_breaker_is_no_longer_counted() {
    let (sink, mut recorded) = Recorded::new();
    let policy = BreakerPolicy::new().with_open_time(ms(1_000));
    let breaker = CircuitBreakerLayer::by(policy, |call| call.id())
        .with_key_bounds(1, ms(5_000))
        .with_events(sink);
    for key in ["a", "b", "c"] {
        breaker.breaker_for(key).unwrap().trip();
        let open = line("{breaker,breaker,open}", 1.0);
        assert_eq!(recorded.values("breaker.state"), [open], "{key}");
        tokio::time::sleep(ms(10_000)).await;
    }
}

/// A key that is new while all are disabled begins in that state, without a change.
#[tokio::test(start_paused = true)]
async fn keys_that_were_disabled_are_not_counted_once_they_are_reset() {
    let (sink, mut recorded) = Recorded::new();
    let policy = BreakerPolicy::new();
    let breaker = CircuitBreakerLayer::per_tool(PerTool::new(policy)).with_events(sink);
    breaker.breaker_for("before").unwrap().trip();
    breaker.disable();
    breaker.breaker_for("after").unwrap();
    breaker.reset();
    assert_eq!(recorded.values("breaker.state"), []);
}

#[tokio::test(start_paused = true)]
async fn queued_calls_that_a_shutdown_cancels_leave_the_gauges() {
    let (sink, mut recorded) = Recorded::new();
    let shutdown = ShutdownLayer::new();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(sink))
        .layer(shutdown.clone())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(ScriptedTool::pending());
    let calls = [(); 3].map(|()| tokio::spawn(tool.clone().oneshot(call("t"))));
    tokio::task::yield_now().await;
    let waiting = [line("{concurrency,concurrency}", 2.0)];
    assert_eq!(recorded.values("queue.length"), waiting);
    assert_eq!(recorded.sum("calls.in_flight"), 1.0);
    shutdown.shutdown(ms(300), ms(100)).await;
    assert!(tool.oneshot(call("t")).await.is_err());

    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{t,cancelled,cancelled}", 3.0),
            line("{t,overloaded,rejected}", 1.0),
        ]
    );
    let ended = recorded.records("queue.wait{concurrency,concurrency,ended}");
    assert_eq!(ended, [0.3, 0.3]);
    assert_eq!(recorded.values("queue.length"), []);
    assert_eq!(recorded.values("calls.in_flight"), []);
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_expires_in_a_queue_leaves_its_gauge() {
    let (sink, mut recorded) = Recorded::new();
    let minute = Quota::with_period(ms(60_000)).unwrap();
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(200)))
        .layer(EventsLayer::new(sink))
        .layer(RateLimitLayer::new(minute))
        .service(ScriptedTool::ready());
    tool.clone().oneshot(call("t")).await.unwrap();
    let waits = tokio::spawn(tool.oneshot(call("t")));
    assert!(waits.await.unwrap().is_err());
    assert_eq!(recorded.values("queue.length"), []);
}

#[tokio::test(start_paused = true)]
async fn overshoot_is_what_a_call_took_of_its_grace_period() {
    let (sink, mut recorded) = Recorded::new();
    let timeout = TimeoutLayer::new(ms(100)).with_grace(ms(50));
    let tool = |script: Script| {
        let tool = timeout.clone().layer(ScriptedTool::script(script));
        EventsLayer::new(sink.clone())
            .layer(tool)
            .oneshot(call("t"))
    };
    // It returns an error in the grace period, it responds in it, and it uses all of it.
    assert!(
        tool(Script::new().delay(ms(120)).fail("stopped"))
            .await
            .is_err()
    );
    let _ = tool(Script::new().delay(ms(130)).respond("late")).await;
    assert!(tool(Script::new().hang()).await.is_err());
    assert_eq!(
        recorded.records("limit.overshoot{timeout,timeout}"),
        [0.02, 0.03, 0.05]
    );
    assert_eq!(
        recorded.records("gen_ai.execute_tool.duration{t,timeout}"),
        [0.12, 0.13, 0.15]
    );
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn status_of_a_server_error_is_failed_with_the_status_as_its_type() {
    use ::http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use toolbooth::ToolName;

    let (sink, mut recorded) = Recorded::new();
    for status in [200, 404, 500, 503, 500] {
        let service = tower::service_fn(move |_: Request<()>| {
            let response = Response::builder().status(status);
            let body = Full::new(bytes::Bytes::from_static(b"body"));
            std::future::ready(response.body(body).map_err(ToolError::failed))
        });
        let request = Request::builder().extension(ToolName::new("api"));
        let service = EventsLayer::new(sink.clone()).layer(service);
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{api,500,failed}", 2.0),
            line("{api,503,failed}", 1.0),
            line("{api,completed}", 2.0),
        ]
    );
    assert_eq!(recorded.values("partial.bytes"), [line("{api}", 20.0)]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}
