//! Several quotas and windows of one limit.

use toolbooth::{CallContext, ConfigError, ErrorKind, Name, PerTool};

use super::*;

fn per_minute(calls: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(calls).expect("not 0"))
}

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or_default().into()
}

/// Makes a call, and returns the time after which it may be tried again if it was rejected.
async fn try_call(rate: &RateLimitLayer, call: toolbooth::ToolCall) -> Result<(), u128> {
    let mut tool = rate.layer(ScriptedTool::ready());
    let response = tool.call(call).await;
    response.map(drop).map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        error.retry_after().expect("a time").as_millis()
    })
}

/// Case F5. A call that one quota rejects takes no token of the other.
#[tokio::test(start_paused = true)]
async fn call_takes_its_tokens_of_all_quotas_or_of_none() {
    for rate in [
        RateLimitLayer::new(per_minute(2)).with_quota(per_second(1, 1)),
        RateLimitLayer::new(per_second(1, 1)).with_quota(per_minute(2)),
    ] {
        let rate = rate.reject();
        assert_eq!(try_call(&rate, call()).await, Ok(()));
        assert_eq!(try_call(&rate, call()).await, Err(1_000));
        sleep(ms(1_100)).await;
        assert_eq!(try_call(&rate, call()).await, Ok(()));
        sleep(ms(1_100)).await;
        // The first token of the minute is back after 30 s.
        assert_eq!(try_call(&rate, call()).await, Err(27_800));
        assert_eq!(rate.reset_after(), ms(57_800));
    }
}

#[tokio::test(start_paused = true)]
async fn waiter_starts_when_the_last_quota_lets_it() {
    let rate = RateLimitLayer::new(per_second(10, 1)).with_quota(per_second(1, 3));
    assert_eq!(starts(&rate, 5).await, [0, 100, 200, 1_000, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn window_admits_its_calls_and_then_each_a_period_after_another() {
    let rate = RateLimitLayer::window(3, ms(1_000)).unwrap();
    assert_eq!(rate.remaining(), 3);
    assert_eq!(
        starts(&rate, 7).await,
        [0, 0, 0, 1_000, 1_000, 1_000, 2_000]
    );
    assert_eq!((rate.remaining(), rate.reset_after()), (2, ms(1_000)));

    let both = RateLimitLayer::new(per_second(10, 1)).with_window(2, ms(1_000));
    assert_eq!(
        starts(&both.unwrap(), 5).await,
        [0, 100, 1_000, 1_100, 2_000]
    );
}

/// A quota of the same rate starts nearly twice as many in the second after a pause.
#[tokio::test(start_paused = true)]
async fn no_window_has_more_starts_than_its_calls() {
    let window = RateLimitLayer::window(100, ms(1_000)).unwrap().reject();
    let quota = RateLimitLayer::new(per_second(100, 100)).reject();
    for (rate, most) in [(window, 100), (quota, 199)] {
        let begin = Instant::now();
        let mut started = Vec::new();
        for _ in 0..3_000 {
            if try_call(&rate, call()).await.is_ok() {
                started.push(begin.elapsed());
            }
            sleep(ms(1)).await;
        }
        let in_second = |from: &Duration| {
            let within = started
                .iter()
                .filter(|at| *at >= from && **at < *from + ms(1_000));
            within.count()
        };
        assert_eq!(started.iter().map(in_second).max(), Some(most));
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_by_a_window_states_when_there_is_room() {
    let rate = RateLimitLayer::window(2, ms(1_000)).unwrap().reject();
    assert_eq!(try_call(&rate, call()).await, Ok(()));
    sleep(ms(300)).await;
    assert_eq!(try_call(&rate, call()).await, Ok(()));
    assert_eq!(try_call(&rate, call()).await, Err(700));
    sleep(ms(700)).await;
    assert_eq!(try_call(&rate, call()).await, Ok(()));
    assert_eq!(try_call(&rate, call()).await, Err(300));
}

#[test]
fn window_that_cannot_work_is_a_typed_error() {
    for (calls, period) in [(0, ms(1)), (10_001, ms(1)), (1, ms(0))] {
        assert_eq!(
            RateLimitLayer::window(calls, period).err(),
            Some(ConfigError::RateWindow)
        );
        let added = RateLimitLayer::new(None).with_window(calls, period);
        assert_eq!(added.err(), Some(ConfigError::RateWindow));
    }
    let widest = RateLimitLayer::window(10_000, Duration::MAX).unwrap();
    assert_eq!(widest.remaining(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_bucket_of_each_quota() {
    let rate = RateLimitLayer::by(
        PerTool::new(per_second(10, 5)).with("internal", None),
        tenant,
    )
    .with_quota(
        PerTool::new(per_minute(2))
            .with("big", per_minute(3))
            .with("internal", None),
    )
    .reject();
    let remaining = ["a", "big", "internal"].map(|key| rate.remaining_for(key));
    assert_eq!(remaining, [2, 3, u32::MAX]);
    for (key, calls) in [("a", 2), ("b", 2), ("big", 3)] {
        for _ in 0..calls {
            assert_eq!(try_call(&rate, call().with_tenant(key)).await, Ok(()));
        }
        assert!(
            try_call(&rate, call().with_tenant(key)).await.is_err(),
            "{key}"
        );
        assert_eq!(rate.remaining_for(key), 0);
    }
    for _ in 0..100 {
        assert_eq!(
            try_call(&rate, call().with_tenant("internal")).await,
            Ok(())
        );
    }
    // The quota that names the key with `None` alone does not exempt it.
    let half = RateLimitLayer::by(PerTool::new(per_second(1, 1)).with("x", None), tenant)
        .with_quota(per_minute(7));
    assert_eq!(half.remaining_for("x"), 7);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_window_of_its_own() {
    let rate = RateLimitLayer::by(PerTool::none(), tenant).with_window(2, ms(1_000));
    let rate = rate.unwrap().with_key_bounds(10, ms(0)).reject();
    for key in ["a", "b"] {
        assert_eq!(rate.remaining_for(key), 2);
        for _ in 0..2 {
            assert_eq!(try_call(&rate, call().with_tenant(key)).await, Ok(()));
        }
        assert_eq!(try_call(&rate, call().with_tenant(key)).await, Err(1_000));
    }
}

#[test]
fn group_has_the_added_quota_whichever_is_set_first() {
    let tools = || RateLimitLayer::per_tool(per_second(10, 10));
    for rate in [
        tools()
            .with_group(per_second(10, 5), ["a", "b"])
            .with_quota(per_minute(3)),
        tools()
            .with_quota(per_minute(3))
            .with_group(per_second(10, 5), ["a", "b"]),
        tools()
            .with_quota(per_minute(5))
            .with_group(per_minute(3), ["a", "b"]),
    ] {
        assert_eq!(rate.remaining_for("a"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn cost_above_the_smallest_burst_is_rejected() {
    let rate = RateLimitLayer::new(per_second(10, 10))
        .with_quota(per_second(1, 3))
        .with_cost(|call| call.priority().unsigned_abs());
    assert_eq!(try_call(&rate, call().with_priority(3)).await, Ok(()));
    let heavy = error_of(rate.layer(ScriptedTool::ready()), call().with_priority(4)).await;
    let reason = OverloadReason::too_heavy(4, 3);
    assert!(matches!(heavy, ToolError::Overloaded { reason: is, .. } if is == reason));
}

/// The window has room for both at 10 s, but then the quota has one token.
#[tokio::test(start_paused = true)]
async fn waiter_that_starts_later_than_predicted_ends_at_its_deadline() {
    let rate = RateLimitLayer::new(per_second(1, 2))
        .with_window(2, ms(10_000))
        .unwrap();
    let mut tool = limited(&rate);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    rate.set_quota(per_second(1, 1)).unwrap();
    let begin = Instant::now();
    let late = call().with_deadline(begin + ms(10_500));
    let [first, late] = [call(), late].map(|call| tokio::spawn(tool.call(call)));
    assert!(first.await.unwrap().is_ok());
    assert_eq!(begin.elapsed(), ms(10_000));
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(timeout(&error), (TimeoutScope::Deadline, 10_500, 10_500));
    assert_eq!((begin.elapsed(), rate.queued()), (ms(10_500), 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_quota_waiters_start_and_a_new_quota_is_full() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = limited(&rate);
    let mut waiting = task::spawn(tool.call(call()));
    assert_pending!(waiting.poll());
    rate.set_quota(None).unwrap();
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.poll());
    assert_eq!((rate.remaining(), rate.reset_after()), (u32::MAX, ms(0)));
    assert_eq!(starts(&rate, 100).await, [0; 100]);
    rate.set_quota(per_second(1, 2)).unwrap();
    assert_eq!(rate.remaining(), 2);
    assert_eq!(starts(&rate, 3).await, [0, 0, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn change_of_the_quota_leaves_added_quotas() {
    let rate = RateLimitLayer::new(per_second(1, 1))
        .with_quota(per_minute(3))
        .reject();
    rate.set_quota(None).unwrap();
    assert_eq!(rate.remaining(), 3);
    rate.set_quota(per_second(1, 2)).unwrap();
    assert_eq!(rate.remaining(), 2);
    // A limit that was made without a quota of its own gets one.
    let window = RateLimitLayer::window(5, ms(1_000)).unwrap();
    window.set_quota(per_second(1, 1)).unwrap();
    assert_eq!(window.remaining(), 1);
    let none = RateLimitLayer::new(None).set_quota(None);
    assert_eq!(none, Err(ConfigError::NoLimit));
}

#[tokio::test(start_paused = true)]
async fn quota_of_a_key_can_be_removed() {
    let rate = RateLimitLayer::by(per_second(1, 1), tenant).reject();
    let [a, b] = ["a", "b"].map(|key| move || call().with_tenant(key));
    assert_eq!(try_call(&rate, a()).await, Ok(()));
    rate.set_quota_for("a", None).unwrap();
    assert_eq!(try_call(&rate, a()).await, Ok(()));
    assert_eq!(try_call(&rate, b()).await, Ok(()));
    assert_eq!(try_call(&rate, b()).await, Err(1_000));
    // The default applies to keys that are known and to new ones.
    rate.set_quota(None).unwrap();
    assert_eq!(try_call(&rate, b()).await, Ok(()));
    assert_eq!(rate.remaining_for("new"), u32::MAX);
}
