//! What outlives calls: hooks, spawned tasks and blocking work.

use std::sync::mpsc;

use toolbooth::{CallContext, CleanupLayer, SpawnLayer};

use super::*;

/// A tool that never completes, with a hook that takes this long and counts in `hooks`.
fn hooked(hooks: &Probe, takes: Duration) -> ScriptedTool {
    let hooks = hooks.clone();
    ScriptedTool::new(move |call| {
        let hooks = hooks.clone();
        call.context().on_cleanup(move |_| async move {
            let _inside = hooks.enter();
            tokio::time::sleep(takes).await;
        });
        std::future::pending()
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shutdown_waits_for_the_hooks() {
    let (shutdown, hooks) = (ShutdownLayer::new(), Probe::new());
    let running = start(shutdown.layer(hooked(&hooks, ms(300))), call()).await;
    let start = Instant::now();
    let report = shut_down(&shutdown, ms(100), MINUTE).await;
    assert_eq!(report, Counts::calls(0, 1).with_hooks(1, 0, 0));
    assert_eq!((start.elapsed(), hooks.finished()), (ms(400), 1));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_that_run_at_the_limit_are_abandoned() {
    let (shutdown, hooks) = (ShutdownLayer::new(), Probe::new());
    let _running = start(shutdown.layer(hooked(&hooks, ms(3_000))), call()).await;
    let start = Instant::now();
    let report = shut_down(&shutdown, ms(100), ms(200)).await;
    assert_eq!(report, Counts::calls(0, 1).with_hooks(0, 0, 1));
    assert_eq!((start.elapsed(), hooks.running()), (ms(300), 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_zero_leaves_10_ms_for_calls_to_end() {
    let (shutdown, hooks) = (ShutdownLayer::new(), Probe::new());
    let _running = start(shutdown.layer(hooked(&hooks, ms(300))), call()).await;
    let report = shut_down(&shutdown, ms(0), ms(0)).await;
    assert_eq!(report, Counts::calls(0, 1).with_hooks(0, 0, 1));
    assert_eq!(hooks.running(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_longer_than_5_s_fails() {
    let (shutdown, hooks) = (ShutdownLayer::new(), Probe::new());
    let _running = start(shutdown.layer(hooked(&hooks, ms(5_001))), call()).await;
    let start = Instant::now();
    let report = shut_down(&shutdown, ms(0), MINUTE).await;
    assert_eq!(report, Counts::calls(0, 1).with_hooks(0, 1, 0));
    assert_eq!(start.elapsed(), ms(5_000));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_a_rejected_call_run() {
    let shutdown = ShutdownLayer::new();
    shut_down(&shutdown, ms(0), ms(0)).await;
    let call = call();
    let outcomes = Outcomes::of(call.context());
    error_of(shutdown.layer(ScriptedTool::ready()), call).await;
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
    let report = shut_down(&shutdown, ms(0), MINUTE).await;
    assert_eq!(report, Counts::calls(0, 0).with_hooks(1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn spawned_tasks_end_before_the_shutdown() {
    let (shutdown, inside) = (ShutdownLayer::new(), Probe::new());
    let probe = inside.clone();
    let spawns = ScriptedTool::new(move |call| {
        let inside = probe.enter();
        call.context().spawn(async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        });
        std::future::pending()
    });
    let _running = start(shutdown.layer(spawns), call()).await;
    assert_eq!(
        shut_down(&shutdown, ms(0), MINUTE).await,
        Counts::calls(0, 1)
    );
    assert_eq!((inside.started(), inside.running()), (1, 0));
}

/// A tool that starts blocking work, which ends when the sender is dropped.
fn blocks() -> (ScriptedTool, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    let tool = ScriptedTool::new(move |call| {
        let gate = gate.clone();
        let work = call.context().spawn_blocking(move |_| {
            let gate = gate.lock().expect("no panic");
            let _ = gate.recv();
        });
        async move {
            work.await?;
            Ok(ToolOutput::text("done"))
        }
    });
    (tool, open)
}

async fn has_begun(context: &CallContext, shutdown: &ShutdownLayer) {
    while context.elapsed() == Duration::ZERO && shutdown.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
}

/// On the real clock: a paused one does not advance while blocking work runs.
#[tokio::test(flavor = "current_thread")]
async fn blocking_work_is_awaited_and_orphaned_at_the_limit() {
    let shutdown = ShutdownLayer::new();
    let (tool, open) = blocks();
    let call = call();
    let context = call.context().clone();
    let running = start(shutdown.layer(tool), call).await;
    has_begun(&context, &shutdown).await;
    let report = shut_down(&shutdown, ms(10), ms(10)).await;
    assert_eq!(report, Counts::calls(0, 1).with_orphaned(1));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
    drop(open);
    assert_eq!(
        shut_down(&shutdown, MINUTE, MINUTE).await,
        Counts::calls(0, 1)
    );
}

/// The task of the inner spawn layer is what outlives the call.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tasks_of_a_spawn_layer_end_before_the_shutdown() {
    for outside in [true, false] {
        let (shutdown, tool) = (ShutdownLayer::new(), ScriptedTool::pending());
        let spawn = SpawnLayer::new();
        let running = match outside {
            true => start(spawn.layer(shutdown.layer(tool.handle())), call()).await,
            false => start(shutdown.layer(spawn.layer(tool.handle())), call()).await,
        };
        tokio::task::yield_now().await;
        let report = shut_down(&shutdown, ms(0), MINUTE).await;
        assert_eq!(report.calls, (0, 1));
        assert_eq!((tool.probe().started(), tool.probe().running()), (1, 0));
        assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shutdown_waits_for_the_hooks_of_an_inner_cleanup_layer() {
    let (shutdown, cleanup) = (ShutdownLayer::new(), CleanupLayer::new());
    let hooks = Probe::new();
    let service = shutdown.layer(cleanup.layer(hooked(&hooks, ms(300))));
    let running = start(service, call()).await;
    let begun = Instant::now();
    assert_eq!(
        shut_down(&shutdown, ms(100), MINUTE).await,
        Counts::calls(0, 1)
    );
    assert_eq!((begun.elapsed(), hooks.finished()), (ms(400), 1));
    assert_eq!(cleanup.report().ran, 1);
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_an_inner_cleanup_layer_are_orphaned_at_the_limit_and_run_on() {
    let (shutdown, cleanup) = (ShutdownLayer::new(), CleanupLayer::new());
    let hooks = Probe::new();
    let service = shutdown.layer(cleanup.layer(hooked(&hooks, ms(3_000))));
    let _running = start(service, call()).await;
    let report = shut_down(&shutdown, ms(100), ms(200)).await;
    assert_eq!(report, Counts::calls(0, 1).with_orphaned(1));
    assert_eq!(cleanup.drain(MINUTE).await.ran, 1);
    assert_eq!(
        shut_down(&shutdown, ms(0), ms(0)).await,
        Counts::calls(0, 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn closed_cleanup_layer_inside_rejects_as_shutting_down() {
    let (shutdown, cleanup) = (ShutdownLayer::new(), CleanupLayer::new());
    let service = shutdown.layer(cleanup.layer(ScriptedTool::ready()));
    cleanup.close();
    assert_rejected(&error_of(service, call()).await, Duration::from_secs(5));
    assert_eq!(shutdown.in_flight(), 0);
}
