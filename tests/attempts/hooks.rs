//! Cleanup hooks of the attempts of one call.

use toolbooth::{CleanupLayer, MAX_HOOKS, PartialResultLayer};
use tower::Layer;
use tower::retry::Retry;

use super::*;

#[tokio::test(start_paused = true)]
async fn without_a_cleanup_layer_the_hooks_of_each_attempt_run_once() {
    let without = Kind::ALL.map(|kind| (kind != Kind::Cleanup).then_some(kind));
    let without: Vec<_> = without.into_iter().flatten().collect();
    for outside in 0..=4 {
        let (layers, seen, hooks) = (layers(), Recorder::new(), Recorder::new());
        let stack = layers.retried(retries(2), &without, outside, failing(&seen, &hooks));
        stack.oneshot(call()).await.unwrap_err();
        sleep(ms(1)).await;
        // The outermost toolbooth layer around an attempt runs its hooks.
        let order = if outside == 0 { [1, 2, 3] } else { [3, 2, 1] };
        let expected = order.map(|attempt| (attempt, Outcome::Failed));
        assert_eq!(hooks.values(), expected, "retry inside {outside}");
    }
}

/// A hook that does not fit into the registry of the call runs when its attempt ends.
#[tokio::test(start_paused = true)]
async fn hooks_of_a_hundred_attempts_are_bounded_and_each_runs() {
    let (cleanup, hooks) = (CleanupLayer::new(), Recorder::new());
    let log = hooks.clone();
    let failing = tool(move |context| {
        let registered = context.on_cleanup(log.hook_for(context.attempt()));
        assert_eq!(registered, Registered::Held);
        async { Err("no") }
    });
    let attempts = PartialResultLayer::new().layer(failing);
    let stack = cleanup.layer(Retry::new(retries(99), attempts));
    stack.oneshot(call()).await.unwrap_err();
    assert_eq!(cleanup.drain(MINUTE).await.ran, MAX_HOOKS as u64);
    let mut hooks = hooks.values();
    hooks.sort_unstable_by_key(|hook| hook.0);
    let expected: Vec<_> = (1..=100).map(|n| (n, Outcome::Failed)).collect();
    assert_eq!(hooks, expected);
}

#[tokio::test(start_paused = true)]
async fn cleanup_with_wait_delays_the_next_attempt_until_the_hooks_end() {
    for (wait, between) in [(None, 5), (Some(ms(200)), 105), (Some(ms(50)), 55)] {
        let cleanup = match wait {
            Some(wait) => CleanupLayer::new().with_wait(wait),
            None => CleanupLayer::new(),
        };
        let starts = Recorder::new();
        let log = starts.clone();
        let failing = tool(move |context| {
            log.record(());
            context.on_cleanup(|_| sleep(ms(100)));
            async { Err("no") }
        });
        let stack = Retry::new(retries(2), cleanup.layer(failing));
        stack.oneshot(call()).await.unwrap_err();
        let starts = starts.times();
        let gaps: Vec<_> = starts
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect();
        assert_eq!(gaps, [ms(between); 2], "{wait:?}");
        assert_eq!(cleanup.drain(MINUTE).await.ran, 3);
    }
}
