//! Readiness is polled inside the call's future, on the instance that is then called.

use std::error::Error;
use std::task::{Context, Waker};

use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{ErrorKind, Outcome};
use tower::{Layer, Service};

use super::super::*;
use super::{Layers, run_tasks, turn};

pub(crate) async fn poll_ready_is_ready_and_does_not_touch_the_inner_service<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    for readiness in [Readiness::Pending, Readiness::Fails, Readiness::Panics] {
        let tool = ScriptedTool::ready().with_readiness(readiness);
        let mut service = layer.layer(tool.handle());
        for _ in 0..3 {
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert_ready!(ready).unwrap();
        }
        assert_eq!(tool.log(), ToolLog::default());
    }
}

pub(crate) async fn ready_inner_service_is_not_cloned<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::ready();
    let mut service = layer.layer(tool.handle());
    assert_eq!(text(service.call(call()).await).await, "done");
    let log = tool.log();
    assert_eq!(
        (log.clones, log.ready_polls.len(), log.calls.len()),
        (0, 1, 1)
    );
}

pub(crate) async fn unready_instance_moves_into_the_future_and_a_fresh_clone_stays<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut service = layer.layer(tool.handle());
    let mut future = task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    let log = tool.log();
    let moved = log.ready_polls[0];
    assert_eq!((log.clones, log.ready_polls), (1, vec![moved, moved]));

    tool.set_readiness(Readiness::Ready);
    run_tasks().await;
    assert!(future.is_woken());
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
    assert_eq!(tool.log().calls, [moved]);

    // The clone stayed in the service, which calls it from now on.
    assert_eq!(text(service.call(call()).await).await, "done");
    assert_eq!(tool.log().calls, [moved, 1]);
    assert_eq!(tool.log().clones, 1);
}

pub(crate) async fn readiness_error_fails_the_call_and_leaves_a_usable_service<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::ready().with_readiness(Readiness::Fails);
    let mut service = layer.layer(tool.handle());
    let failing = call();
    let outcomes = Outcomes::of(failing.context());
    let failed = error(service.call(failing).await);
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(failed.source().unwrap().to_string(), "not ready");
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
    assert!(tool.log().calls.is_empty());

    tool.set_readiness(Readiness::Ready);
    assert_eq!(text(service.call(call()).await).await, "done");
    assert_eq!(tool.log().calls, [1]);
}

pub(crate) async fn readiness_error_after_a_wait_fails_the_call<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut service = layer.layer(tool.handle());
    let mut future = task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    tool.set_readiness(Readiness::Fails);
    run_tasks().await;
    assert!(future.is_woken());
    let failed = error(assert_ready!(turn(&mut future).await));
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert!(tool.log().calls.is_empty());
}
