//! Which limit applies.

use toolbooth::middleware::{Bound, Moment, Part};
use toolbooth::{ConfigError, PerTool};

use super::*;

/// The timeout of a call whose tool never completes; the clock agrees with its elapsed time.
async fn expire(layer: &TimeoutLayer, call: ToolCall) -> (TimeoutScope, u128, u128) {
    let start = Instant::now();
    let expired = error_of(layer.layer(ScriptedTool::pending()), call).await;
    let expired = timeout(&expired);
    assert_eq!(start.elapsed().as_millis(), expired.2);
    expired
}

fn deadline_in(millis: u64) -> ToolCall {
    call().with_deadline(Instant::now() + ms(millis))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_expires_at_its_millisecond() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = task::spawn(service.call(call().with_id("17")));
    assert_pending!(future.poll());
    advance(ms(999)).await;
    assert!(!future.is_woken());
    assert_pending!(future.poll());
    advance(ms(1)).await;
    assert!(future.is_woken());
    let expired = error(assert_ready!(future.poll()));
    assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_000));
    assert_eq!(
        expired.to_string(),
        "timed out after 1s (total limit of 1s of `timeout`)"
    );
    assert_eq!(
        (expired.tool(), expired.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(expired.is_retryable());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_counts_from_the_call_and_not_from_the_first_poll() {
    let (mut service, _handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = task::spawn(service.call(call()));
    advance(ms(1_000)).await;
    let expired = error(assert_ready!(future.poll()));
    assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_000));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_ready_at_the_limit_wins_and_one_a_millisecond_later_loses() {
    let layer = TimeoutLayer::new(ms(1_000));
    assert_eq!(text_of(layer.layer(takes(ms(1_000))), call()).await, "done");
    let expired = error_of(layer.layer(takes(ms(1_001))), call()).await;
    assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_000));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_ready_at_a_late_poll_wins() {
    let (mut service, mut handle) = mock(&TimeoutLayer::new(ms(1_000)));
    let mut future = task::spawn(service.call(call()));
    assert_pending!(future.poll());
    advance(ms(5_000)).await;
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_a_tool_replaces_the_default() {
    let limits = PerTool::new(ms(100))
        .with("file", ms(300))
        .with("watch", None);
    let layer = TimeoutLayer::new(limits);
    let named = |tool: &str| toolbooth_test::call(tool);
    assert_eq!(expire(&layer, named("db")).await, (TOTAL, 100, 100));
    assert_eq!(expire(&layer, named("file")).await, (TOTAL, 300, 300));
    let watch = layer.layer(takes(Duration::from_secs(1 << 20)));
    assert_eq!(text_of(watch, named("watch")).await, "done");

    let only = TimeoutLayer::new(PerTool::none().with("db", ms(50)));
    assert_eq!(expire(&only, named("db")).await, (TOTAL, 50, 50));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_the_call_replaces_that_of_the_layer() {
    let layer = TimeoutLayer::new(PerTool::new(ms(100)).with("tool", ms(200)));
    for (layer, limit) in [
        (&layer, 50),
        (&layer, 900),
        (&TimeoutLayer::unlimited(), 70),
    ] {
        let expected = (TOTAL, u128::from(limit), u128::from(limit));
        assert_eq!(
            expire(layer, call().with_timeout(ms(limit))).await,
            expected
        );
    }
    let unlimited = layer.layer(takes(Duration::from_secs(1 << 20)));
    let call = call().with_timeout(Duration::MAX);
    assert_eq!(text_of(unlimited, call).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_the_call_replaces_that_of_the_outermost_layer_only() {
    let two = |outer, inner| {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(outer)))
            .layer(PartialResultLayer::new())
            .layer(TimeoutLayer::new(ms(inner)))
            .service(ScriptedTool::pending())
    };
    for (outer, inner, limit, expected) in [
        (100, 200, Some(500), 200),
        (1_000, 900, Some(300), 300),
        (100, 200, None, 100),
    ] {
        let call = match limit {
            Some(limit) => call().with_timeout(ms(limit)),
            None => call(),
        };
        let expired = error_of(two(outer, inner), call).await;
        assert_eq!(timeout(&expired), (TOTAL, expected, expected));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_caps_every_limit_and_is_the_scope() {
    let layer = TimeoutLayer::new(ms(500));
    assert_eq!(expire(&layer, deadline_in(200)).await, (DEADLINE, 200, 200));
    assert_eq!(expire(&layer, deadline_in(800)).await, (TOTAL, 500, 500));
    let shorter = deadline_in(200).with_timeout(ms(300));
    assert_eq!(expire(&layer, shorter).await, (DEADLINE, 200, 200));
    for unlimited in [TimeoutLayer::unlimited(), TimeoutLayer::new(None)] {
        assert_eq!(
            expire(&unlimited, deadline_in(40)).await,
            (DEADLINE, 40, 40)
        );
    }
    let unlimited = deadline_in(60).with_timeout(Duration::MAX);
    assert_eq!(expire(&layer, unlimited).await, (DEADLINE, 60, 60));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_is_reported_by_the_outermost_of_two_timeouts() {
    let inner = TimeoutLayer::new(ms(300)).layer(ScriptedTool::pending());
    let stack = TimeoutLayer::new(ms(400)).layer(inner);
    let start = Instant::now();
    let expired = error_of(stack, deadline_in(200)).await;
    assert_eq!(timeout(&expired), (DEADLINE, 200, 200));
    assert_eq!(start.elapsed(), ms(200));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_in_the_past_rejects_without_touching_the_tool() {
    advance(ms(10)).await;
    for before in [ms(0), ms(10)] {
        let tool = ScriptedTool::ready();
        let call = call().with_deadline(Instant::now() - before);
        let outcomes = Outcomes::of(call.context());
        let service = TimeoutLayer::new(ms(500)).layer(tool.handle());
        let rejected = error_of(service, call).await;
        assert_eq!(timeout(&rejected), (DEADLINE, 0, 0));
        assert_eq!(tool.log(), support::ToolLog::default());
        assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tool_sees_the_nearest_limit() {
    let tool = ScriptedTool::new(async |call| {
        let context = call.context();
        tokio::time::sleep(ms(100)).await;
        let left = context.remaining().map(|left| left.as_millis().to_string());
        Ok(ToolOutput::text(left.unwrap_or_default()))
    });
    let stack = |outer, inner| {
        TimeoutLayer::new(ms(outer)).layer(TimeoutLayer::new(ms(inner)).layer(tool.clone()))
    };
    assert_eq!(text_of(stack(1_000, 700), call()).await, "600");
    assert_eq!(text_of(stack(700, 1_000), call()).await, "600");
    assert_eq!(text_of(stack(700, 1_000), deadline_in(500)).await, "400");
    let unlimited = TimeoutLayer::unlimited().layer(tool.clone());
    assert_eq!(text_of(unlimited, call()).await, "");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn zero_passes_only_a_response_ready_at_the_first_poll() {
    let zero = TimeoutLayer::new(Duration::ZERO);
    assert_eq!(
        text_of(zero.layer(ScriptedTool::ready()), call()).await,
        "done"
    );
    assert_eq!(expire(&zero, call()).await, (TOTAL, 0, 0));
    let zero = call().with_timeout(Duration::ZERO);
    assert_eq!(
        expire(&TimeoutLayer::new(ms(100)), zero).await,
        (TOTAL, 0, 0)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_limit_never_expires() {
    for layer in [
        TimeoutLayer::new(Duration::MAX),
        TimeoutLayer::unlimited(),
        TimeoutLayer::new(None),
    ] {
        let (mut service, mut handle) = mock(&layer);
        let mut future = task::spawn(service.call(call()));
        assert_pending!(future.poll());
        advance(Duration::from_secs(1 << 25)).await;
        assert!(!future.is_woken());
        assert_pending!(future.poll());
        let (request, response) = handle.next_request().await.unwrap();
        assert_eq!(request.context().deadline(), None);
        response.send_response(ToolOutput::text("done"));
        assert_eq!(text(assert_ready!(future.poll())).await, "done");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_at_the_end_of_the_clock_never_expires_and_does_not_panic() {
    // The longest duration that can be added to this instant.
    let (mut fits, mut overflows) = (Duration::ZERO, Duration::MAX);
    while overflows.saturating_sub(fits) > Duration::from_nanos(1) {
        let half = fits + overflows.saturating_sub(fits) / 2;
        match Instant::now().checked_add(half) {
            Some(_) => fits = half,
            None => overflows = half,
        }
    }
    let layer = TimeoutLayer::new(fits).layer(takes(ms(10)));
    assert_eq!(text_of(layer, call()).await, "done");
    let deadline = Instant::now().checked_add(fits.saturating_sub(ms(20)));
    let call = call().with_deadline(deadline.unwrap());
    let layer = TimeoutLayer::unlimited().layer(takes(ms(10)));
    assert_eq!(text_of(layer, call).await, "done");
}

#[test]
fn try_new_rejects_an_endless_limit() {
    let endless = ConfigError::EndlessTimeout(Duration::MAX);
    assert_eq!(TimeoutLayer::try_new(Duration::MAX).unwrap_err(), endless);
    let limits = PerTool::new(ms(5)).with("file", Duration::MAX);
    assert_eq!(TimeoutLayer::try_new(limits).unwrap_err(), endless);
    TimeoutLayer::try_new(PerTool::new(ms(5)).with("file", None)).unwrap();
}

/// A foreign layer that enforces its own limit sets a bound like this.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nearer_bound_of_another_layer_applies() {
    let service = TimeoutLayer::new(ms(30_000)).layer(ScriptedTool::pending());
    let call = call();
    let bound = Bound::after(Moment::now(), TOTAL, ms(1_000)).unwrap();
    Part::enter(call.context()).set_bound(bound);
    let expired = error_of(service, call).await;
    assert_eq!(timeout(&expired), (TOTAL, 1_000, 1_000));
}
