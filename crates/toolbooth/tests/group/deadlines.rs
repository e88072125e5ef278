//! The deadline of a group.

use toolbooth::middleware::KeepPolicy;
use toolbooth::{PartialResultLayer, TimeoutLayer, TimeoutScope};
use tower::Layer;

use super::*;

#[tokio::test(start_paused = true)]
async fn running_calls_expire_together_with_their_partial_results() {
    let tool = sleeper();
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(3_000));
    let outcomes = group
        .all(tool.clone(), [100, 60_000, 60_000].map(sleeps))
        .await;
    assert_eq!(started.elapsed(), ms(3_000));
    assert_eq!(briefs(&outcomes), ["100", "timeout", "timeout"]);
    for late in &outcomes[1..] {
        assert_eq!(partial(late), ["begun"]);
        let error = late.as_ref().unwrap_err();
        let expired = (TimeoutScope::Deadline, 3_000, 3_000);
        assert_eq!(support::timeout(error), expired);
        assert_eq!((error.layer(), error.started()), (Some("group"), true));
        assert_eq!(error.queue(), None);
    }
    assert_eq!(tool.probe().running(), 0);
}

#[tokio::test(start_paused = true)]
async fn response_that_is_ready_at_the_deadline_counts() {
    let group = CallGroup::new().with_timeout(ms(50));
    let outcomes = group.all(sleeper(), [50, 52].map(sleeps)).await;
    assert_eq!(briefs(&outcomes), ["50", "timeout"]);
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_in_the_group_at_the_deadline_is_not_started() {
    let tool = sleeper();
    let started = Instant::now();
    let group = CallGroup::new()
        .with_concurrency(2)
        .with_timeout(ms(100))
        .with_name("sources");
    let outcomes = group
        .all(tool.clone(), [60, 60_000, 60_000, 10].map(sleeps))
        .await;
    assert_eq!(started.elapsed(), ms(100));
    assert_eq!(briefs(&outcomes), ["60", "timeout", "timeout", "timeout"]);
    let error = |index: usize| outcomes[index].as_ref().unwrap_err();
    // The third began at 60, so that it had 40 ms.
    assert_eq!(support::timeout(error(2)), (TimeoutScope::Deadline, 40, 40));
    assert_eq!((error(2).started(), error(2).queue()), (true, None));
    assert_eq!(
        support::timeout(error(3)),
        (TimeoutScope::Deadline, 100, 100)
    );
    assert_eq!(
        (error(3).started(), error(3).queue()),
        (false, Some("sources"))
    );
    assert_eq!(error(3).tool(), Some("sleeps"));
    assert_eq!(tool.probe().started(), 3);
}

#[tokio::test(start_paused = true)]
async fn earlier_of_deadline_and_timeout_counts() {
    for (deadline, timeout) in [(40, 90), (90, 40)] {
        let started = Instant::now();
        let group = CallGroup::new()
            .with_deadline(started + ms(deadline))
            .with_timeout(ms(timeout));
        group.all(sleeper(), [60_000].map(sleeps)).await;
        assert_eq!(started.elapsed(), ms(40));
    }
}

#[tokio::test(start_paused = true)]
async fn no_limit_and_the_longest_one_do_not_expire() {
    for timeout in [None, Some(Duration::MAX)] {
        let group = CallGroup::new().with_timeout(timeout);
        let outcomes = group.all(sleeper(), [100_000_000].map(sleeps)).await;
        assert_eq!(briefs(&outcomes), ["100000000"]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_starts_at_a_deadline_that_has_passed() {
    let tool = sleeper();
    let group = CallGroup::new().with_timeout(Duration::ZERO);
    let outcomes = group.all(tool.clone(), [0, 0].map(sleeps)).await;
    assert_eq!(briefs(&outcomes), ["timeout", "timeout"]);
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| !error.started())
    );
    assert_eq!(tool.probe().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn earlier_deadline_of_a_call_ends_that_call() {
    let started = Instant::now();
    let early = sleeps(60_000).with_deadline(started + ms(20));
    let late = sleeps(60_000).with_deadline(started + ms(900));
    let mut outcomes = CallGroup::new()
        .with_timeout(ms(100))
        .outcomes(sleeper(), [early, late]);
    let mut ends = Vec::new();
    while let Some((index, outcome)) = outcomes.next().await {
        let (scope, limit, elapsed) = support::timeout(&outcome.unwrap_err());
        ends.push((index, scope, limit, elapsed));
    }
    let scope = TimeoutScope::Deadline;
    assert_eq!(ends, [(0, scope, 20, 20), (1, scope, 100, 100)]);
}

#[tokio::test(start_paused = true)]
async fn timeout_of_a_call_is_for_the_timeout_layer_of_the_stack() {
    let stack = TimeoutLayer::new(ms(50)).layer(sleeper());
    let calls = [sleeps(70), sleeps(70).with_timeout(ms(80))];
    let outcomes = CallGroup::new()
        .with_timeout(ms(1_000))
        .all(stack, calls)
        .await;
    assert_eq!(briefs(&outcomes), ["timeout", "70"]);
    let error = outcomes[0].as_ref().unwrap_err();
    assert_eq!(support::timeout(error), (TimeoutScope::Total, 50, 50));
}

#[tokio::test(start_paused = true)]
async fn tool_reads_the_deadline_of_its_group() {
    let tool = ScriptedTool::new(|call| async move {
        sleep(ms(10)).await;
        Ok(ToolOutput::text(format!(
            "{:?}",
            call.context().remaining()
        )))
    });
    let group = CallGroup::new().with_timeout(ms(100));
    let outcomes = group.all(tool, [call()]).await;
    assert_eq!(briefs(&outcomes), ["Some(90ms)"]);
}

#[tokio::test(start_paused = true)]
async fn policy_of_the_group_decides_what_is_kept_unless_it_is_none() {
    let tool = ScriptedTool::new(|call| async move {
        for text in ["one", "two", "three"] {
            call.context().emit(text);
        }
        std::future::pending().await
    });
    let inner = PartialResultLayer::new().with_max_items(1).layer(tool);
    let group = CallGroup::new().with_timeout(ms(10));
    let kept = async |group: CallGroup| {
        let outcomes = group.all(inner.clone(), [call()]).await;
        partial(&outcomes[0]).len()
    };
    assert_eq!(kept(group.clone()).await, 3);
    let two = KeepPolicy::new().with_max_items(2);
    assert_eq!(kept(group.clone().with_partial_results(two)).await, 2);
    assert_eq!(kept(group.with_partial_results(None)).await, 1);
}
