//! Groups in a tool of a call, and in a tool of a group.

use toolbooth::TimeoutLayer;
use tower::{Layer, ServiceExt};

use super::*;

/// A tool that makes a group of two children, of 10 ms and of a minute, with this timeout of its
/// own. It returns when the group ended and its outcomes.
fn nests(timeout: Option<Duration>, inner: ScriptedTool) -> ScriptedTool {
    ScriptedTool::new(move |call| {
        let inner = inner.clone();
        async move {
            let started = Instant::now();
            let context = call.context();
            let children = [10, 60_000].map(|millis| context.child("sleeps", json!(millis)));
            let children = children.into_iter().collect::<Result<Vec<_>>>()?;
            let group = CallGroup::new().with_timeout(timeout);
            let outcomes = briefs(&group.all(inner, children).await);
            let ended = format!("{:?}: {}", started.elapsed(), outcomes.join(" "));
            context.emit(ended.clone());
            Ok(ToolOutput::text(ended))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn nested_group_ends_by_the_deadline_of_the_outer_one() {
    let outer = CallGroup::new().with_timeout(ms(300));
    for (timeout, ended) in [(Some(200), 200), (Some(900), 300), (None, 300)] {
        let inner = sleeper();
        let tool = nests(timeout.map(ms), inner.clone());
        let outcomes = outer.all(tool, [call()]).await;
        // The response of the outer tool is ready at its own deadline.
        assert_eq!(briefs(&outcomes), [format!("{ended}ms: 10 timeout")]);
        assert_eq!((inner.probe().started(), inner.probe().running()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn group_in_a_tool_ends_by_the_timeout_of_its_call() {
    let inner = sleeper();
    let stack = TimeoutLayer::new(ms(300)).layer(nests(None, inner.clone()));
    let response = stack.oneshot(call()).await.unwrap();
    assert_eq!(
        response.collect().await.unwrap().text(),
        "300ms: 10 timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelled_outer_group_cancels_the_calls_of_the_nested_one() {
    let inner = sleeper();
    let hooks = Recorder::new();
    let nested = {
        let (inner, hooks) = (inner.clone(), hooks.clone());
        ScriptedTool::new(move |call| {
            let (inner, hooks) = (inner.clone(), hooks.clone());
            async move {
                if call.args() == &json!(1) {
                    sleep(ms(50)).await;
                    return Err("failed".into());
                }
                let child = call.context().child("sleeps", json!(60_000))?;
                child.context().on_cleanup(hooks.hook());
                CallGroup::new().all(inner, [child]).await;
                Ok(ToolOutput::text("not reached"))
            }
        })
    };
    let started = Instant::now();
    let group = CallGroup::new().with_cancel_on_failure();
    let outcomes = group.all(nested, [0, 1].map(sleeps)).await;
    assert_eq!(started.elapsed(), ms(50));
    assert_eq!(briefs(&outcomes), ["cancelled", "tool_error"]);
    assert_eq!((inner.probe().started(), inner.probe().running()), (1, 0));
    sleep(ms(1)).await;
    assert_eq!(hooks.values(), [Outcome::Cancelled]);
}
