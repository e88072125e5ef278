use std::time::Duration;

use toolbooth::{
    ConcurrencyLimitLayer, Content, Outcome, PartialResultLayer, TimeoutLayer, TimeoutScope,
};
use toolbooth_test::{
    ConfigurableConcurrencyTool, ConfigurableTimeoutTool, Finished, MockBehavior, MockToolConfig,
    RaceConditionTool, VariableDelayTool, assert_ended_at, assert_outcomes, call, call_all, ms,
    timeout_of,
};
use tower::{Layer, ServiceBuilder};

/// Calls the tool once under a limit of 3 s and an idle limit of 600 ms.
async fn mock(tool: &ConfigurableTimeoutTool) -> Finished {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(3_000)).with_idle(ms(600)))
        .layer(PartialResultLayer::new())
        .service(tool.clone());
    call_all(stack, [call("mock")]).await.remove(0)
}

fn scope(finished: &Finished) -> Option<TimeoutScope> {
    let timeout = finished.result.as_ref().err().and_then(timeout_of);
    timeout.map(|(scope, ..)| scope)
}

#[tokio::test(start_paused = true)]
async fn configurable_tool_does_as_configured_and_records_each_end() {
    let tool = ConfigurableTimeoutTool::new();
    let config = |behavior| MockToolConfig::new(behavior).with_execution(ms(2_000));
    let idle = Some(TimeoutScope::Idle);
    let cases = [
        (MockToolConfig::default(), Outcome::Completed, 100, None),
        (config(MockBehavior::Slow), Outcome::TimedOut, 600, idle),
        (
            config(MockBehavior::PartialHang),
            Outcome::TimedOut,
            1_100,
            idle,
        ),
        (
            config(MockBehavior::StreamingSlow),
            Outcome::Completed,
            2_000,
            None,
        ),
        (
            config(MockBehavior::ImmediateError),
            Outcome::Failed,
            0,
            None,
        ),
        (
            config(MockBehavior::HangForever),
            Outcome::TimedOut,
            600,
            idle,
        ),
        (
            config(MockBehavior::Heartbeat),
            Outcome::Completed,
            2_000,
            None,
        ),
        (
            config(MockBehavior::Heartbeat).with_heartbeat_interval(ms(700)),
            Outcome::TimedOut,
            600,
            idle,
        ),
        (
            config(MockBehavior::Heartbeat).with_execution(ms(9_000)),
            Outcome::TimedOut,
            3_000,
            Some(TimeoutScope::Total),
        ),
        (
            config(MockBehavior::PartialHang).with_partial_delay(ms(50)),
            Outcome::TimedOut,
            650,
            idle,
        ),
        (
            config(MockBehavior::StreamingSlow).with_chunks(3, ms(20)),
            Outcome::Completed,
            60,
            None,
        ),
    ];
    for (config, outcome, at, expired) in cases {
        tool.configure(config.clone());
        let finished = mock(&tool).await;
        let found = (finished.outcome(), finished.at, scope(&finished));
        assert_eq!(found, (outcome, ms(at), expired), "{config:?}");
        let record = tool.records().take().remove(0);
        assert_eq!(record.cancelled, outcome == Outcome::TimedOut, "{config:?}");
        assert!(format!("{config:?}").contains(&format!("{:?}", record.behavior)));
    }
}

#[tokio::test(start_paused = true)]
async fn streaming_behavior_emits_after_each_delay() {
    let tool = ConfigurableTimeoutTool::new();
    tool.configure(MockToolConfig::new(MockBehavior::StreamingSlow));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(250)))
        .layer(PartialResultLayer::new())
        .service(tool);
    let finished = call_all(stack, [call("mock")]).await;
    let partial = finished[0].result.as_ref().unwrap_err().partial().unwrap();
    assert_eq!(
        partial.contents(),
        ["chunk_0", "chunk_1"].map(Content::from)
    );
}

/// As the reports' tool: two succeed and the others fail. The bulk executor is a limit.
#[tokio::test(start_paused = true)]
async fn configurable_tool_fails_after_n_calls_behind_a_bulk_limit() {
    let tool = ConfigurableConcurrencyTool::new()
        .with_fail_after(2)
        .with_execution_time(ms(20));
    for (limit, times) in [(None, [20, 20, 20, 20]), (Some(2), [20, 20, 40, 40])] {
        let tool = tool.clone();
        let bulk = ConcurrencyLimitLayer::new(limit).layer(tool);
        let finished = call_all(bulk, (0..4).map(|_| call("api"))).await;
        assert_ended_at(&finished, times.map(ms));
        if limit.is_none() {
            let (ok, failed) = (Outcome::Completed, Outcome::Failed);
            assert_outcomes(&finished, [ok, ok, failed, failed]);
        }
    }
    assert_eq!((tool.probe().max(), tool.probe().finished()), (4, 8));
}

#[tokio::test(start_paused = true)]
async fn share_of_failures_is_the_same_for_a_seed() {
    let run = async |seed| {
        let tool = ConfigurableConcurrencyTool::new().with_fail_rate(0.25, seed);
        let finished = call_all(tool, (0..1_000).map(|_| call("api"))).await;
        finished.iter().map(Finished::is_ok).collect::<Vec<_>>()
    };
    let first = run(7).await;
    assert_eq!(run(7).await, first);
    assert_ne!(run(8).await, first);
    let failed = first.iter().filter(|ok| !**ok).count();
    assert!((200..300).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn delays_are_uniform_in_their_range_and_the_same_for_a_seed() {
    let run = async |tool: VariableDelayTool| {
        let calls = (0..1_000).map(|_| call("api"));
        let finished = call_all(tool.clone(), calls).await;
        let delays: Vec<Duration> = finished.iter().map(|call| call.at).collect();
        assert_eq!(tool.delays().values(), delays);
        delays
    };
    let first = run(VariableDelayTool::seeded(7)).await;
    assert_eq!(run(VariableDelayTool::seeded(7)).await, first);
    assert_ne!(run(VariableDelayTool::seeded(8)).await, first);
    assert!(first.iter().all(|delay| (ms(50)..=ms(500)).contains(delay)));
    let short = first.iter().filter(|delay| **delay < ms(275)).count();
    assert!((450..550).contains(&short), "{short}");
    let one = VariableDelayTool::seeded(7).with_range_ms(20..=20);
    assert_eq!(run(one).await, vec![ms(20); 1_000]);
}

/// The lock serializes the calls of one tool.
#[tokio::test(start_paused = true)]
async fn lock_of_one_tool_serializes_its_calls() {
    let tool = RaceConditionTool::new();
    let finished = call_all(tool.clone(), (0..20).map(|_| call("count"))).await;
    assert_eq!((tool.count(), finished[19].at), (20, ms(20)));
    let values: Vec<_> = finished
        .iter()
        .map(|call| call.result.as_ref().unwrap().text())
        .collect();
    let expected: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
    assert_eq!(values, expected);
}
