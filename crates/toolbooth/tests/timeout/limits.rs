//! Which limit holds.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready};
use toolbooth::middleware::Part;
use toolbooth::middleware::{Bound, Moment};
use toolbooth::{
    BoxError, ConfigError, PartialResultLayer, PerTool, TimeoutLayer, TimeoutScope, ToolCall,
    ToolOutput,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::*;

const TOTAL: TimeoutScope = TimeoutScope::Total;
const DEADLINE: TimeoutScope = TimeoutScope::Deadline;

/// Cuts the stuck call; the instant at which it was cut, in milliseconds from now, agrees with what the error says.
async fn cut(layer: TimeoutLayer, call: ToolCall) -> (TimeoutScope, u128, u128) {
    let start = Instant::now();
    let struck = error(layer.layer(ScriptedTool::pending()).oneshot(call).await);
    let struck = limit(&struck);
    assert_eq!(start.elapsed().as_millis(), struck.2);
    struck
}

/// A tool that answers after this time.
fn answers_after(time: Duration) -> ScriptedTool {
    ScriptedTool::new(move |_| async move {
        sleep(time).await;
        Ok::<_, BoxError>(ToolOutput::text("done"))
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_strikes_at_its_millisecond_and_not_before() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = tokio_test::task::spawn(service.call(call().with_id("17")));
    assert_pending!(future.poll());
    tokio::time::advance(ms(999)).await;
    assert!(!future.is_woken());
    assert_pending!(future.poll());
    tokio::time::advance(ms(1)).await;
    assert!(future.is_woken());
    let struck = error(assert_ready!(future.poll()));
    assert_eq!(limit(&struck), (TOTAL, 1_000, 1_000));
    assert_eq!(struck.to_string(), "timed out after 1s (total limit of 1s)");
    assert_eq!(
        (struck.tool(), struck.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(struck.is_retryable());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_runs_from_the_call_and_not_from_the_first_poll() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = tokio_test::task::spawn(service.call(call()));
    tokio::time::advance(ms(1_000)).await;
    assert_eq!(
        limit(&error(assert_ready!(future.poll()))),
        (TOTAL, 1_000, 1_000)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_ready_at_the_limit_wins_and_a_millisecond_later_loses() {
    let service = TimeoutLayer::new(ms(1_000)).layer(answers_after(ms(1_000)));
    assert_eq!(text(service.oneshot(call()).await).await, "done");
    let service = TimeoutLayer::new(ms(1_000)).layer(answers_after(ms(1_001)));
    assert_eq!(
        limit(&error(service.oneshot(call()).await)),
        (TOTAL, 1_000, 1_000)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_that_came_while_nobody_polled_wins_over_a_limit_long_past() {
    let (mut service, mut handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_pending!(future.poll());
    tokio::time::advance(ms(5_000)).await;
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tools_have_limits_of_their_own() {
    let limits = PerTool::new(ms(100))
        .with("file", ms(300))
        .with("watch", None);
    let layer = TimeoutLayer::new(limits);
    let named = |name: &str| ToolCall::new(name, serde_json::json!(null));
    assert_eq!(cut(layer.clone(), named("db")).await, (TOTAL, 100, 100));
    assert_eq!(cut(layer.clone(), named("file")).await, (TOTAL, 300, 300));
    let watch = layer.layer(answers_after(Duration::from_secs(1 << 20)));
    assert_eq!(text(watch.oneshot(named("watch")).await).await, "done");

    let only = TimeoutLayer::new(PerTool::none().with("db", ms(50)));
    assert_eq!(cut(only, named("db")).await, (TOTAL, 50, 50));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_the_call_replaces_the_layers_whether_shorter_or_longer() {
    let layer = TimeoutLayer::new(PerTool::new(ms(100)).with("tool", ms(200)));
    assert_eq!(
        cut(layer.clone(), call().with_timeout(ms(50))).await,
        (TOTAL, 50, 50)
    );
    assert_eq!(
        cut(layer.clone(), call().with_timeout(ms(900))).await,
        (TOTAL, 900, 900)
    );
    let unlimited = TimeoutLayer::unlimited();
    assert_eq!(
        cut(unlimited, call().with_timeout(ms(70))).await,
        (TOTAL, 70, 70)
    );
    let endless = layer.layer(answers_after(Duration::from_secs(1 << 20)));
    let endless = endless.oneshot(call().with_timeout(Duration::MAX)).await;
    assert_eq!(text(endless).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_the_call_replaces_the_outermost_layers_only() {
    let two = |outer, inner| {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(outer)))
            .layer(PartialResultLayer::new())
            .layer(TimeoutLayer::new(ms(inner)))
            .service(ScriptedTool::pending())
    };
    // The inner one's still holds, and the outer one's own does not any more.
    let struck = error(two(100, 200).oneshot(call().with_timeout(ms(500))).await);
    assert_eq!(limit(&struck), (TOTAL, 200, 200));
    // It is the outer one that it bounds.
    let struck = error(two(1_000, 900).oneshot(call().with_timeout(ms(300))).await);
    assert_eq!(limit(&struck), (TOTAL, 300, 300));
    // Without it, the shorter one strikes.
    let struck = error(two(100, 200).oneshot(call()).await);
    assert_eq!(limit(&struck), (TOTAL, 100, 100));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_caps_every_limit_and_is_named() {
    let in_ms = |at| call().with_deadline(Instant::now() + ms(at));
    let layer = TimeoutLayer::new(ms(500));
    assert_eq!(cut(layer.clone(), in_ms(200)).await, (DEADLINE, 200, 200));
    assert_eq!(cut(layer.clone(), in_ms(800)).await, (TOTAL, 500, 500));
    let short = in_ms(200).with_timeout(ms(300));
    assert_eq!(cut(layer.clone(), short).await, (DEADLINE, 200, 200));
    assert_eq!(
        cut(TimeoutLayer::unlimited(), in_ms(40)).await,
        (DEADLINE, 40, 40)
    );
    assert_eq!(
        cut(TimeoutLayer::new(None), in_ms(40)).await,
        (DEADLINE, 40, 40)
    );
    let endless = in_ms(60).with_timeout(Duration::MAX);
    assert_eq!(cut(layer, endless).await, (DEADLINE, 60, 60));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_is_enforced_by_the_outermost_of_two_timeouts() {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(400)))
        .layer(TimeoutLayer::new(ms(300)))
        .service(ScriptedTool::pending());
    let deadline = Instant::now() + ms(200);
    let struck = error(stack.oneshot(call().with_deadline(deadline)).await);
    assert_eq!(limit(&struck), (DEADLINE, 200, 200));
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_in_the_past_refuses_without_touching_the_tool() {
    tokio::time::advance(ms(10)).await;
    for before in [ms(0), ms(10)] {
        let probe = ScriptedTool::ready();
        let call = call().with_deadline(Instant::now() - before);
        let outcomes = Outcomes::of(call.context());
        let service = TimeoutLayer::new(ms(500)).layer(probe.handle());
        let refused = error(service.oneshot(call).await);
        assert_eq!(limit(&refused), (DEADLINE, 0, 0));
        assert_eq!(probe.log(), support::ToolLog::default());
        assert_eq!(outcomes.all().await, [toolbooth::Outcome::TimedOut]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tool_sees_the_nearest_limit_around_it() {
    let probe = ScriptedTool::new(async |call| {
        let context = call.context();
        sleep(ms(100)).await;
        let left = context.remaining().map(|left| left.as_millis().to_string());
        Ok::<_, BoxError>(ToolOutput::text(left.unwrap_or_default()))
    });
    let stack = |outer, inner| {
        TimeoutLayer::new(ms(outer)).layer(TimeoutLayer::new(ms(inner)).layer(probe.clone()))
    };
    assert_eq!(text(stack(1_000, 700).oneshot(call()).await).await, "600");
    assert_eq!(text(stack(700, 1_000).oneshot(call()).await).await, "600");
    let deadline = call().with_deadline(Instant::now() + ms(500));
    assert_eq!(text(stack(700, 1_000).oneshot(deadline).await).await, "400");
    let unlimited = TimeoutLayer::unlimited().layer(probe.clone());
    assert_eq!(text(unlimited.oneshot(call()).await).await, "");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn zero_lets_pass_only_an_answer_that_is_ready_at_the_first_poll() {
    let zero = TimeoutLayer::new(Duration::ZERO);
    assert_eq!(
        text(zero.layer(ScriptedTool::ready()).oneshot(call()).await).await,
        "done"
    );
    assert_eq!(cut(zero, call()).await, (TOTAL, 0, 0));
    let layer = TimeoutLayer::new(ms(100));
    assert_eq!(
        cut(layer, call().with_timeout(Duration::ZERO)).await,
        (TOTAL, 0, 0)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_limit_never_strikes() {
    let no_limits = [
        TimeoutLayer::new(Duration::MAX),
        TimeoutLayer::unlimited(),
        TimeoutLayer::new(None),
    ];
    for layer in no_limits {
        let (mut service, mut handle) = mock(&layer);
        let mut future = tokio_test::task::spawn(service.call(call()));
        assert_pending!(future.poll());
        tokio::time::advance(Duration::from_secs(1 << 25)).await;
        assert!(!future.is_woken());
        assert_pending!(future.poll());
        let (request, send) = handle.next_request().await.unwrap();
        assert_eq!(request.context().deadline(), None);
        send.send_response(ToolOutput::text("done"));
        assert_eq!(text(assert_ready!(future.poll())).await, "done");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_at_the_very_end_of_the_clock_never_strikes_and_never_panics() {
    // The longest limit that can be added to this instant.
    let (mut fits, mut overflows) = (Duration::ZERO, Duration::MAX);
    while overflows.saturating_sub(fits) > Duration::from_nanos(1) {
        let half = fits + overflows.saturating_sub(fits) / 2;
        match Instant::now().checked_add(half) {
            Some(_) => fits = half,
            None => overflows = half,
        }
    }
    let layer = TimeoutLayer::new(fits).layer(answers_after(ms(10)));
    assert_eq!(text(layer.oneshot(call()).await).await, "done");
    let deadline = call().with_deadline(
        Instant::now()
            .checked_add(fits.saturating_sub(ms(20)))
            .unwrap(),
    );
    let layer = TimeoutLayer::unlimited().layer(answers_after(ms(10)));
    assert_eq!(text(layer.oneshot(deadline).await).await, "done");
}

#[test]
fn an_endless_limit_in_a_configuration_is_refused() {
    let endless = ConfigError::EndlessTimeout(Duration::MAX);
    assert_eq!(TimeoutLayer::try_new(Duration::MAX).unwrap_err(), endless);
    let limits = PerTool::new(ms(5)).with("file", Duration::MAX);
    assert_eq!(TimeoutLayer::try_new(limits).unwrap_err(), endless);
    TimeoutLayer::try_new(PerTool::new(ms(5)).with("file", None)).unwrap();
}

/// What a layer of somebody else's does that enforces a limit of its own.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nearer_limit_that_another_layer_set_is_kept() {
    let service = TimeoutLayer::new(ms(30_000)).layer(ScriptedTool::pending());
    let call = call();
    let bound = Bound::after(Moment::now(), TOTAL, ms(1_000)).unwrap();
    Part::enter(call.context()).set_bound(bound);
    let struck = error(service.oneshot(call).await);
    assert_eq!(limit(&struck), (TOTAL, 1_000, 1_000));
}
