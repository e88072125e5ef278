//! How hooks run.

use toolbooth::{MAX_HOOKS, Outcome, PartialResultLayer, TimeoutLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_run_last_in_first_out_one_after_the_other() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    let call = call();
    for (name, takes) in [("first", 10), ("second", 30), ("third", 20)] {
        assert_eq!(
            diary.hook(call.context(), name, ms(takes)),
            Registered::Held
        );
    }
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(diary.read(), []);
    assert_eq!(counts(cleanup.drain(LONG).await), (3, 0, 0, 0));
    assert_eq!(diary.read(), [("third", 20), ("second", 50), ("first", 60)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_caller_and_tool_are_one_line() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    let call = call();
    diary.hook(call.context(), "caller", ms(0));
    let tools = diary.clone();
    let tool = Probe::new(move |call| {
        tools.hook(call.context(), "tool", ms(0));
        std::future::ready(Err("half way".into()))
    });
    error(cleanup.layer(tool).oneshot(call).await);
    assert_eq!(counts(cleanup.drain(LONG).await), (2, 0, 0, 0));
    assert_eq!(
        diary
            .read()
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>(),
        ["tool", "caller"]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_that_overruns_is_stopped_at_its_limit_and_the_others_run() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    let call = call();
    diary.hook(call.context(), "last", ms(10));
    diary.hook(call.context(), "overruns", ms(5_001));
    diary.hook(call.context(), "in time", ms(5_000));
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(counts(cleanup.drain(LONG).await), (2, 1, 0, 0));
    assert_eq!(diary.read(), [("in time", 5_000), ("last", 10_010)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_each_hook_is_the_layers() {
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let diary = Diary::new();
    let dropped = Count::default();
    let call = call();
    diary.hook(call.context(), "last", ms(100));
    let on_drop = dropped.on_drop();
    call.context().on_cleanup(move |_| async move {
        let _on_drop = on_drop;
        std::future::pending::<()>().await;
    });
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    pass(ms(99)).await;
    assert_eq!((dropped.get(), counts(cleanup.report())), (0, (0, 0, 0, 0)));
    pass(ms(1)).await;
    assert_eq!((dropped.get(), counts(cleanup.report())), (1, (0, 1, 0, 0)));
    assert_eq!(counts(cleanup.drain(LONG).await), (1, 1, 0, 0));
    assert_eq!(diary.read(), [("last", 200)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_that_panics_is_counted_and_stops_no_other() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    let call = call();
    diary.hook(call.context(), "last", ms(0));
    call.context()
        .on_cleanup(|_| async { panic!("in its work") });
    call.context()
        .on_cleanup(|_| -> std::future::Ready<()> { panic!("before its work") });
    diary.hook(call.context(), "first", ms(0));
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(counts(cleanup.drain(LONG).await), (2, 2, 0, 0));
    let order: Vec<_> = diary.read().into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["first", "last"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_after_the_64th_is_refused_and_dropped() {
    let cleanup = CleanupLayer::new();
    let (ran, dropped) = (Count::default(), Count::default());
    let call = call();
    for at in 1..=70 {
        let (ran, on_drop) = (ran.clone(), dropped.on_drop());
        let registered = call.context().on_cleanup(move |_| async move {
            let _on_drop = on_drop;
            ran.add();
        });
        let expected = if at <= 64 {
            Registered::Held
        } else {
            Registered::Rejected
        };
        assert_eq!(registered, expected);
    }
    assert_eq!((dropped.get(), MAX_HOOKS), (6, 64));
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(counts(cleanup.drain(LONG).await), (64, 0, 0, 0));
    assert_eq!((ran.get(), dropped.get()), (64, 70));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_registered_after_the_end_runs_at_once_with_the_outcome_of_the_call() {
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(300)))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(Probe::new(async |call| {
            call.context().emit("half");
            std::future::pending().await
        }));
    let call = call();
    let context = call.context().clone();
    error(stack.oneshot(call).await);
    let (tell, late) = tokio::sync::oneshot::channel();
    let registered = context.on_cleanup_with(|end| async move {
        let partial = end.partial().map(|partial| partial.contents().len());
        tell.send((end.outcome(), partial)).unwrap();
    });
    assert_eq!(registered, Registered::RunsNow);
    assert_eq!(late.await.unwrap(), (Outcome::TimedOut, Some(1)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_that_registers_another_sees_it_run_at_once() {
    let cleanup = CleanupLayer::new();
    let call = call();
    let context = call.context().clone();
    let (tell, inner) = tokio::sync::oneshot::channel();
    call.context().on_cleanup(move |_| async move {
        let nested = told(&context);
        tell.send(nested.outcomes().await).unwrap();
    });
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(inner.await.unwrap(), [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_get_what_was_kept_and_nothing_on_success() {
    for (limit, end) in [
        (300, (Outcome::TimedOut, 2)),
        (500, (Outcome::Completed, 0)),
    ] {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(limit)))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(Probe::new(async |call| {
                for piece in ["a", "b"] {
                    call.context().emit(piece);
                    tokio::time::sleep(ms(200)).await;
                }
                Ok(toolbooth::ToolOutput::text("done"))
            }));
        let call = call();
        let told = told(call.context());
        assert_eq!(stack.oneshot(call).await.is_ok(), limit == 500);
        assert_eq!(told.ends().await, [end]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_a_streamed_answer_wait_for_its_end() {
    let cleanup = CleanupLayer::new().with_wait(LONG);
    let tool = Probe::new(async |_| Ok(ticking(&Count::default(), ms(10), ["a", "b"])));
    let diary = Diary::new();
    let call = call();
    diary.hook(call.context(), "hook", ms(500));
    let mut stream = cleanup
        .layer(tool)
        .oneshot(call)
        .await
        .unwrap()
        .into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "b");
    pass(ms(90)).await;
    assert!(next(&mut stream).await.is_none());
    // The end of a stream waits for no hook.
    assert_eq!(diary.start.elapsed(), ms(100));
    assert_eq!(counts(cleanup.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(diary.read(), [("hook", 600)]);
}

// --- who waits

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_comes_at_the_limit_and_the_hook_ends_later() {
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(300)))
        .layer(cleanup.clone())
        .service(Probe::stuck());
    let diary = Diary::new();
    let call = call();
    diary.hook(call.context(), "hook", ms(500));
    error(stack.oneshot(call).await);
    diary.write("error");
    assert_eq!(counts(cleanup.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(diary.read(), [("error", 300), ("hook", 800)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_waits_for_the_hooks_where_it_is_told_to_and_no_longer_than_that() {
    for (wait, entries) in [
        (1_000, [("hook", 500), ("answer", 500)]),
        (501, [("hook", 500), ("answer", 500)]),
        (499, [("answer", 499), ("hook", 500)]),
        (200, [("answer", 200), ("hook", 500)]),
        (0, [("answer", 0), ("hook", 500)]),
    ] {
        for succeeds in [true, false] {
            let cleanup = CleanupLayer::new().with_wait(ms(wait));
            let tool = Probe::new(move |_| async move {
                match succeeds {
                    true => Ok(toolbooth::ToolOutput::text("done")),
                    false => Err("half way".into()),
                }
            });
            let diary = Diary::new();
            let call = call();
            diary.hook(call.context(), "hook", ms(500));
            let answer = cleanup.layer(tool).oneshot(call).await;
            diary.write("answer");
            assert_eq!(answer.is_ok(), succeeds);
            assert_eq!(counts(cleanup.drain(LONG).await), (1, 0, 0, 0));
            assert_eq!(diary.read(), entries);
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_without_hooks_waits_for_nothing() {
    let cleanup = CleanupLayer::new().with_wait(LONG);
    let start = Instant::now();
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call()).await).await,
        "done"
    );
    assert_eq!(start.elapsed(), ms(0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn endless_wait_is_as_long_as_the_hooks_take() {
    let cleanup = CleanupLayer::new()
        .with_wait(Duration::MAX)
        .with_hook_limit(Duration::MAX);
    let diary = Diary::new();
    let call = call();
    diary.hook(call.context(), "hook", LONG);
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(
        (diary.start.elapsed(), counts(cleanup.report())),
        (LONG, (1, 0, 0, 0))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn future_dropped_while_it_waits_for_hooks_lets_them_go_on() {
    let cleanup = CleanupLayer::new().with_wait(LONG);
    let diary = Diary::new();
    let call = call();
    diary.hook(call.context(), "hook", ms(500));
    let mut future = tokio_test::task::spawn(cleanup.layer(Probe::ready()).oneshot(call));
    assert!(future.poll().is_pending());
    pass(ms(100)).await;
    drop(future);
    assert_eq!(counts(cleanup.drain(LONG).await), (1, 0, 0, 0));
    assert_eq!(diary.read(), [("hook", 500)]);
}
