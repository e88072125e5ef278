//! One breaker per tool or per key.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use toolbooth::{CallContext, Name, PerTool};

use super::*;

/// The errors of calls of these tools, made one after the other.
async fn kinds<S>(service: &S, tools: &[&str]) -> Vec<Option<ErrorKind>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    kinds_of(
        service,
        tools.iter().map(|tool| toolbooth_test::call(*tool)),
    )
    .await
}

fn by_tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or("nobody").into()
}

#[tokio::test(start_paused = true)]
async fn failing_tool_opens_its_own_breaker_only() {
    let policies = PerTool::new(two())
        .with("db", BreakerPolicy::new())
        .with("echo", None);
    let breaker = CircuitBreakerLayer::per_tool(policies);
    let service = breaker.layer(fails("down"));
    assert_eq!(
        kinds(&service, &["api"; 3]).await,
        [FAILED, FAILED, REJECTED]
    );
    assert_eq!(kinds(&service, &["web"; 2]).await, [FAILED, FAILED]);
    assert_eq!(kinds(&service, &["db"; 6]).await[4..], [FAILED, REJECTED]);
    assert_eq!(kinds(&service, &["echo"; 20]).await, [FAILED; 20]);
    assert!(breaker.breaker_for("echo").is_none());
    // All services of one layer share the breaker of a tool.
    let other = breaker.clone().layer(ScriptedTool::ready());
    let tools = ["api", "web", "new"];
    assert_eq!(kinds(&other, &tools).await, [REJECTED, REJECTED, OK]);
}

#[tokio::test(start_paused = true)]
async fn key_function_selects_the_breaker_and_listeners_receive_the_key() {
    let breaker = CircuitBreakerLayer::by(two(), by_tenant);
    let changes = Recorder::new();
    let recorder = changes.clone();
    breaker.on_state_change(move |change| recorder.record((change.key.clone(), change.to)));
    let service = breaker.layer(fails("down"));
    let calls = ["a", "b", "a", "a"].map(|tenant| call().with_tenant(tenant));
    let expected = [FAILED, FAILED, FAILED, REJECTED];
    assert_eq!(kinds_of(&service, calls).await, expected);
    assert_eq!(kinds_of(&service, [call()]).await, [FAILED]);
    assert_eq!(changes.values(), [(Some("a".into()), BreakerState::Open)]);
}

#[tokio::test(start_paused = true)]
async fn breakers_are_read_and_changed_one_by_one_or_all_together() {
    let breaker = CircuitBreakerLayer::per_tool(two());
    assert_eq!(breaker.state(), BreakerState::Closed);
    let service = breaker.layer(ScriptedTool::ready());
    // Created before its first call.
    let api = breaker.breaker_for("api").expect("there is room");
    api.trip();
    assert_eq!(kinds(&service, &["api", "web"]).await, [REJECTED, OK]);
    let web = breaker.breaker_for("web").expect("it exists");
    let states = (api.state(), web.state());
    assert_eq!(states, (BreakerState::Open, BreakerState::Closed));
    assert_eq!(breaker.state(), BreakerState::Open);
    advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.trip();
    let tools = ["api", "web", "new"];
    assert_eq!(kinds(&service, &tools).await, [REJECTED, REJECTED, OK]);
    breaker.reset();
    assert_eq!(kinds(&service, &["api", "web"]).await, [OK, OK]);
    // `disable` and `reset` apply to the breakers of later tools, too.
    breaker.disable();
    let failing = breaker.layer(fails("down"));
    let tools = ["api", "late", "late", "late"];
    assert_eq!(kinds(&failing, &tools).await, [FAILED; 4]);
    assert_eq!(breaker.state(), BreakerState::Disabled);
    breaker.reset();
    assert_eq!(
        kinds(&failing, &["late"; 3]).await,
        [FAILED, FAILED, REJECTED]
    );

    let single = CircuitBreakerLayer::with_policy(two());
    single
        .breaker_for("anything")
        .expect("it is for all")
        .trip();
    assert_eq!(single.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn full_key_table_evicts_no_breaker_that_is_open_or_in_use() {
    let breaker = CircuitBreakerLayer::per_tool(two()).with_key_bounds(2, Duration::from_secs(600));
    let failing = breaker.layer(fails("down"));
    let mut pending = breaker.layer(ScriptedTool::pending());
    // One breaker is open, a call of the other one runs.
    assert_eq!(
        kinds(&failing, &["down"; 3]).await,
        [FAILED, FAILED, REJECTED]
    );
    let mut running = task::spawn(pending.call(toolbooth_test::call("runs")));
    assert_pending!(running.poll());
    let full = error_of(failing.clone(), toolbooth_test::call("third")).await;
    assert_eq!(full.kind(), ErrorKind::Overloaded);
    assert!(breaker.breaker_for("third").is_none());
    assert_eq!(kinds(&failing, &["down"]).await, [REJECTED]);
    drop(running);
    assert_eq!(
        kinds(&failing, &["third", "down"]).await,
        [FAILED, REJECTED]
    );
    // It is evicted after its open time.
    let third = breaker.breaker_for("third").expect("it exists");
    advance(OPEN).await;
    assert_eq!(kinds(&failing, &["fourth"]).await, [FAILED]);
    assert_eq!(third.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn key_of_a_megabyte_is_rejected() {
    let service = CircuitBreakerLayer::by(two(), by_tenant).layer(ScriptedTool::ready());
    let long = call().with_tenant("x".repeat(1_000_000));
    let rejected = error_of(service, long).await;
    assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    assert!(rejected.to_string().len() < 200);
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_key_function_ends_the_call() {
    let breaker = CircuitBreakerLayer::by(two(), |_| panic!("in the key"));
    let mut service = breaker.layer(ScriptedTool::ready());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let panic = AssertUnwindSafe(async { service.call(call).await }).catch_unwind();
    assert_eq!(support::panic_text(panic.await), "in the key");
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}
