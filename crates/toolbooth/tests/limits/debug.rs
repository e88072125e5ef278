//! `Debug` of the limits, and of the other layers.

use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, CleanupLayer, PerTool, RetryBudget, RetryPolicy,
    ShutdownLayer, SpawnLayer, TimeoutLayer,
};

use super::*;

/// Case G3. The load of a limit by tool is that of all tools.
#[tokio::test(start_paused = true)]
async fn debug_of_a_limit_shows_its_limit_and_its_load() {
    let limit = ConcurrencyLimitLayer::new(1).with_name("disk");
    let by_tool = ConcurrencyLimitLayer::per_tool(PerTool::none().with("tool", 2));
    let stack = ServiceBuilder::new()
        .layer(by_tool.clone())
        .layer(limit.clone())
        .service(SlowTool::new(ms(50)));
    for _ in 0..3 {
        tokio::spawn(stack.clone().oneshot(call("tool")));
    }
    sleep(ms(1)).await;
    let load = r#"{ name: "disk", limit: Some(1), in_flight: 1, queued: 1 }"#;
    assert_eq!(
        format!("{limit:?}"),
        format!("ConcurrencyLimitLayer {load}")
    );
    let load = r#"{ name: "disk", limit: Some(1), in_flight: 1, queued: 1, inner: () }"#;
    let service = format!("{:?}", limit.layer(()));
    assert_eq!(service, format!("ConcurrencyLimit {load}"));
    let limits = r#"PerTool { default: None, tools: {"tool": Some(2)} }"#;
    assert_eq!(
        format!("{by_tool:?}"),
        format!(
            r#"ConcurrencyLimitLayer {{ name: "concurrency", limit: {limits}, in_flight: 2, queued: 1 }}"#
        )
    );
    limit.set_limit(None).unwrap();
    assert!(format!("{limit:?}").contains("limit: None,"));
    let unlimited = ConcurrencyLimitLayer::new(None);
    assert!(format!("{unlimited:?}").contains("limit: None,"));
}

/// Case G3. A quota that was added and a window are shown, too.
#[tokio::test(start_paused = true)]
async fn debug_of_a_rate_limit_shows_its_quotas_and_its_load() {
    let rate = RateLimitLayer::new(quota(2, 10)).with_name("search");
    let tool = rate.layer(FastTool::new());
    for _ in 0..12 {
        tokio::spawn(tool.clone().oneshot(call("tool")));
    }
    sleep(ms(1)).await;
    let shown = format!(
        r#"name: "search", quota: Some({:?}), remaining: 0, queued: 2"#,
        quota(2, 10)
    );
    assert_eq!(format!("{rate:?}"), format!("RateLimitLayer {{ {shown} }}"));
    assert_eq!(
        format!("{:?}", rate.layer(())),
        format!("RateLimit {{ {shown}, inner: () }}")
    );
    rate.set_quota(quota(3, 7)).unwrap();
    assert!(format!("{rate:?}").contains(&format!("quota: Some({:?})", quota(3, 7))));
    let several = RateLimitLayer::per_tool(quota(2, 10)).with_quota(quota(1, 5));
    let several = several.with_window(4, ms(1_000)).unwrap();
    let by_tool = |quota| format!("PerTool {{ default: Some({quota:?}), tools: {{}} }}");
    assert_eq!(
        format!("{several:?}"),
        format!(
            "RateLimitLayer {{ name: \"rate\", quota: {}, more_quotas: [{}], \
             windows: [WindowTerms {{ calls: 4, period: 1s }}], remaining: 4294967295, queued: 0 }}",
            by_tool(quota(2, 10)),
            by_tool(quota(1, 5)),
        )
    );
}

/// Case G3. The other layers show their settings and their state.
#[tokio::test(start_paused = true)]
async fn debug_of_a_layer_has_no_atomics_and_no_locks() {
    let breaker = CircuitBreakerLayer::with_policy(BreakerPolicy::new()).with_name("backend");
    breaker.trip();
    let shown = r#"CircuitBreakerLayer { name: "backend", state: Open, .. }"#;
    assert_eq!(format!("{breaker:?}"), shown);
    let timeout = TimeoutLayer::new(ms(5));
    timeout.set_limit(ms(7));
    assert!(format!("{timeout:?}").contains("total: PerTool { default: Some(7ms), tools: {} }"));
    let budget = RetryBudget::new(0.25, 3).unwrap();
    let shown = "RetryBudget { ratio: 0.25, min_per_second: 3, .. }";
    assert_eq!(format!("{budget:?}"), shown);
    let all = [
        format!("{breaker:?}"),
        format!("{timeout:?}"),
        format!("{:?}", CleanupLayer::new()),
        format!("{:?}", ShutdownLayer::new()),
        format!("{:?}", SpawnLayer::new()),
        format!("{:?}", RetryPolicy::new(2).with_budget(budget)),
    ];
    for shown in all {
        for internal in ["Mutex", "Lock", "Atomic", "LimitId", "Notify", "Arc"] {
            assert!(!shown.contains(internal), "{shown}");
        }
    }
}

/// Case G4. The names are stable, and padded as texts are.
#[test]
fn enums_without_fields_have_a_text() {
    use toolbooth::breaker::BreakerState::{Closed, Disabled, HalfOpen, Open};
    use toolbooth::{Checkpointed, Registered};

    let states = [Closed, Open, HalfOpen, Disabled].map(|state| state.to_string());
    assert_eq!(states, ["closed", "open", "half_open", "disabled"]);
    assert_eq!(
        (format!("{Open:>6}"), Open.as_str()),
        ("  open".to_owned(), "open")
    );
    let checkpoints = [
        Checkpointed::Kept,
        Checkpointed::TooLarge,
        Checkpointed::Over,
    ];
    let checkpoints = checkpoints.map(|result| result.to_string());
    assert_eq!(checkpoints, ["kept", "too_large", "over"]);
    let hooks = [Registered::Held, Registered::RunsNow, Registered::Rejected];
    assert_eq!(
        hooks.map(|result| result.to_string()),
        ["held", "runs_now", "rejected"]
    );
}
