//! A breaker for each tool, or for each key: what they share, and what they do not.

use super::*;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use tokio_test::assert_pending;
use toolbooth::{Name, PerTool};

fn down() -> Probe {
    flaky(&Arc::new(AtomicBool::new(true)))
}

fn of(tool: &str) -> ToolCall {
    ToolCall::new(tool, serde_json::Value::Null)
}

/// How calls of these tools ended, made one after the other.
async fn kinds<S>(service: &S, tools: &[&str]) -> Vec<Option<ErrorKind>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = toolbooth::ToolError> + Clone,
{
    let mut kinds = Vec::new();
    for tool in tools {
        let answer = service.clone().oneshot(of(tool)).await;
        kinds.push(answer.err().map(|error| error.kind()));
    }
    kinds
}

fn by_tenant(call: &toolbooth::CallContext) -> Name {
    call.tenant().unwrap_or("nobody").into()
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_fails_leaves_the_others_alone() {
    let five = BreakerPolicy::new();
    let policies = PerTool::new(two()).with("db", five).with("echo", None);
    let breaker = CircuitBreakerLayer::per_tool(policies);
    let service = breaker.layer(down());
    assert_eq!(
        kinds(&service, &["api"; 3]).await,
        [FAILED, FAILED, REFUSED]
    );
    assert_eq!(kinds(&service, &["web"; 2]).await, [FAILED, FAILED]);
    assert_eq!(kinds(&service, &["db"; 6]).await[4..], [FAILED, REFUSED]);
    assert_eq!(kinds(&service, &["echo"; 20]).await, [FAILED; 20]);
    assert!(breaker.breaker_for("echo").is_none());
    // One value, one breaker for each tool, whatever it is applied to.
    let other = breaker.clone().layer(Probe::ready());
    assert_eq!(
        kinds(&other, &["api", "web", "new"]).await,
        [REFUSED, REFUSED, OK]
    );
}

#[tokio::test(start_paused = true)]
async fn keys_are_what_the_user_says_and_listeners_are_told_which() {
    let breaker = CircuitBreakerLayer::by(two(), by_tenant);
    let told = Arc::new(Mutex::new(Vec::new()));
    let changes = Arc::clone(&told);
    breaker.on_state_change(move |change| {
        let mut changes = changes.lock().expect("no panic under it");
        changes.push((change.key.clone().expect("a key"), change.to));
    });
    let mut service = breaker.layer(down());
    for tenant in ["a", "b", "a"] {
        let call = call().with_tenant(tenant);
        assert_eq!(error(service.call(call).await).kind(), ErrorKind::Tool);
    }
    let refused = error(service.call(call().with_tenant("a")).await);
    assert_eq!(refused.kind(), ErrorKind::CircuitOpen);
    assert_eq!(error(service.call(call()).await).kind(), ErrorKind::Tool);
    assert_eq!(*told.lock().unwrap(), [("a".into(), BreakerState::Open)]);
}

#[tokio::test(start_paused = true)]
async fn each_is_read_and_acted_on_alone_or_with_all_others() {
    let breaker = CircuitBreakerLayer::per_tool(two());
    assert_eq!(breaker.state(), BreakerState::Closed);
    let service = breaker.layer(Probe::ready());
    // Made before its first call.
    let api = breaker.breaker_for("api").expect("there is room");
    api.trip();
    assert_eq!(kinds(&service, &["api", "web"]).await, [REFUSED, OK]);
    let web = breaker.breaker_for("web").expect("it is there");
    assert_eq!(
        (api.state(), web.state()),
        (BreakerState::Open, BreakerState::Closed)
    );
    assert_eq!(breaker.state(), BreakerState::Open);
    tokio::time::advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.trip();
    assert_eq!(
        kinds(&service, &["api", "web", "new"]).await,
        [REFUSED, REFUSED, OK]
    );
    breaker.reset();
    assert_eq!(kinds(&service, &["api", "web"]).await, [OK, OK]);
    // Those to come as well.
    breaker.disable();
    let failing = breaker.layer(down());
    assert_eq!(
        kinds(&failing, &["api", "late", "late", "late"]).await,
        [FAILED; 4]
    );
    assert_eq!(breaker.state(), BreakerState::Disabled);
    breaker.reset();
    assert_eq!(
        kinds(&failing, &["late"; 3]).await,
        [FAILED, FAILED, REFUSED]
    );
    let only = CircuitBreakerLayer::with_policy(two());
    only.breaker_for("anything").expect("it is for all").trip();
    assert_eq!(only.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_and_none_that_matters_is_forgotten() {
    let breaker = CircuitBreakerLayer::per_tool(two()).with_key_bounds(2, Duration::from_secs(600));
    let failing = breaker.layer(down());
    let mut stuck = breaker.layer(Probe::stuck());
    // One is open, of the other one a call runs: a third is refused, and nothing is forgotten for it.
    assert_eq!(
        kinds(&failing, &["down"; 3]).await,
        [FAILED, FAILED, REFUSED]
    );
    let mut running = tokio_test::task::spawn(stuck.call(of("runs")));
    assert_pending!(running.poll());
    let full = error(failing.clone().oneshot(of("third")).await);
    assert_eq!(full.kind(), ErrorKind::Overloaded);
    assert!(breaker.breaker_for("third").is_none());
    assert_eq!(kinds(&failing, &["down"]).await, [REFUSED]);
    drop(running);
    assert_eq!(kinds(&failing, &["third"]).await, [FAILED]);
    assert_eq!(kinds(&failing, &["down"]).await, [REFUSED]);
    // When its open time is over, it can go.
    let third = breaker.breaker_for("third").expect("it is there");
    tokio::time::advance(OPEN).await;
    assert_eq!(kinds(&failing, &["fourth"]).await, [FAILED]);
    assert_eq!(third.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_megabyte_is_refused() {
    let mut service = CircuitBreakerLayer::by(two(), by_tenant).layer(Probe::ready());
    let long = error(
        service
            .call(call().with_tenant("x".repeat(1_000_000)))
            .await,
    );
    assert_eq!(long.kind(), ErrorKind::InvalidArguments);
    assert!(long.to_string().len() < 200);
}

#[tokio::test(start_paused = true)]
async fn a_panic_where_the_key_is_asked_for_ends_the_call() {
    let breaker = CircuitBreakerLayer::by(two(), |_| panic!("in the key"));
    let mut service = breaker.layer(Probe::ready());
    let call = call();
    let outcomes = told(call.context());
    let panic = AssertUnwindSafe(async { service.call(call).await }).catch_unwind();
    assert_eq!(support::laws::panicked(panic.await), "in the key");
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}
