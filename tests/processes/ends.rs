//! However a call ends, so does everything that it started.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{sleep, timeout};
use toolbooth::{CleanupLayer, CommandOutput, CommandTool, ErrorKind, Outcome, ToolCall};
use tower::{Layer, ServiceExt};

use super::{Folder, LONG, Marked, answer, call, stack};

const TWO_SLEEPERS: &str = "sleep 60 & echo begun; echo waiting; sleep 60";

#[tokio::test]
async fn of_30_commands_cut_by_a_limit_no_process_lives_when_drain_returns() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let tool = marked.sh(TWO_SLEEPERS, &[]);
    let calls = (0..30).map(|n| {
        let output = [
            CommandOutput::Text,
            CommandOutput::Lines,
            CommandOutput::Json,
        ];
        let tool = tool.clone().with_output(output[n % 3].clone());
        let tool = stack(tool, Duration::from_secs(1), &cleanup);
        tokio::spawn(async move { tool.oneshot(call(json!({}))).await?.collect().await })
    });
    for ended in join_all(calls).await {
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let kept = error.partial().expect("it said something").contents();
        assert_eq!(kept, ["begun".into(), "waiting".into()]);
    }
    let report = cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
    assert_eq!((report.ran, report.failed, report.abandoned), (30, 0, 0));
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_gone_after_the_grace() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let deaf = marked
        .sh(
            "trap '' TERM; sleep 60 & echo armed; while :; do sleep 60; done",
            &[],
        )
        .with_kill_grace(Duration::from_secs(1))
        .with_output(CommandOutput::Lines);
    let answer = stack(deaf, LONG, &cleanup).oneshot(call(json!({}))).await;
    let mut lines = answer.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "armed".into());
    marked.settle(3).await;
    drop(lines);
    assert_eq!(marked.alive(), 3, "SIGTERM does nothing to them");
    assert_eq!(cleanup.drain(LONG).await.ran, 1);
    assert_eq!(marked.alive(), 0);
}

/// As many as there may be.
#[tokio::test]
async fn a_program_is_waited_for_behind_64_other_hooks() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let deaf = marked
        .sh("trap '' TERM; echo armed; while :; do sleep 60; done", &[])
        .with_kill_grace(Duration::from_secs(1))
        .with_output(CommandOutput::Lines);
    let hooked = call(json!({}));
    for _ in 0..64 {
        hooked.context().on_cleanup(|_| async {});
    }
    let answer = stack(deaf, LONG, &cleanup).oneshot(hooked).await;
    let mut lines = answer.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "armed".into());
    drop(lines);
    assert_eq!(cleanup.drain(LONG).await.ran, 65);
    assert_eq!(marked.alive(), 0);
}

/// It has something to say, too: more than a pipe holds, when nobody listens any more.
#[tokio::test]
async fn within_the_grace_a_program_ends_in_its_own_way() {
    let (marked, folder) = (Marked::new(), Folder::new("grace"));
    let cleanup = CleanupLayer::new();
    let tidy = marked
        .sh("trap 'echo bye; echo bye >&2; seq 1 100000; seq 1 100000 >&2; echo tidy > \"$1\"; exit' TERM; echo armed; while :; do sleep 0.02; done", &["{file}"])
        .with_kill_grace(Duration::from_secs(4))
        .with_output(CommandOutput::Lines);
    let file = folder.file("told");
    let args = json!({ "file": file });
    let mut lines = stack(tidy, LONG, &cleanup)
        .oneshot(call(args))
        .await
        .unwrap()
        .into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "armed".into());
    drop(lines);
    cleanup.drain(LONG).await;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "tidy\n");
    assert_eq!(marked.alive(), 0);
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    for (script, grace) in [
        // It holds the program's output open.
        ("sleep 60 & echo done", LONG),
        ("sleep 60 > /dev/null 2>&1 & echo done", LONG),
        (
            "(trap '' TERM; sleep 60) & echo done",
            Duration::from_millis(100),
        ),
    ] {
        let marked = Marked::new();
        let cleanup = CleanupLayer::new();
        let tool = stack(
            marked.sh(script, &[]).with_kill_grace(grace),
            LONG,
            &cleanup,
        );
        let answer = tool
            .oneshot(call(json!({})))
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert_eq!(answer.text(), "done\n", "{script}");
        assert_eq!(cleanup.drain(LONG).await.ran, 1);
        assert_eq!(marked.alive(), 0, "{script}");
    }
}

#[tokio::test]
async fn a_process_that_leaves_the_group_is_not_waited_for() {
    let marked = Marked::new();
    let told = answer(
        marked.sh("setsid sleep 8 & sleep 0.3; echo done", &[]),
        json!({}),
    )
    .await;
    assert_eq!(told.unwrap().text(), "done\n");
    assert_eq!(marked.alive(), 1, "the one that left");
}

/// Dropped before its first poll, while it starts, while it runs; by an abort, and by a panic next to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_at_any_moment_leaves_nothing() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let outputs = [
        CommandOutput::Text,
        CommandOutput::Lines,
        CommandOutput::bytes("a/b"),
    ];
    let ended = join_all((0..50).zip(outputs.iter().cycle()).map(|(n, output)| {
        let tool = marked.sh(TWO_SLEEPERS, &[]).with_output(output.clone());
        let tool = stack(tool, LONG, &cleanup);
        let running = async move { tool.oneshot(call(json!({}))).await?.collect().await };
        let moment = Duration::from_micros(20) * n * n;
        let running = tokio::spawn(async move {
            if n % 2 == 0 {
                return running.await.map(drop);
            }
            tokio::select! {
                ended = running => ended.map(drop),
                () = sleep(moment) => panic!("next to it"),
            }
        });
        async move {
            if n % 2 == 0 {
                sleep(moment).await;
                running.abort();
            }
            running.await
        }
    }))
    .await;
    for ended in ended {
        let ended = ended.unwrap_err();
        assert!(ended.is_cancelled() || ended.is_panic());
    }
    let report = cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
    assert_eq!(
        (report.failed, report.abandoned, report.orphaned),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn without_any_layer_a_dropped_call_ends_its_program_too() {
    let marked = Marked::new();
    let tool = marked.sh(TWO_SLEEPERS, &[]);
    let running = tokio::spawn(tool.oneshot(call(json!({}))));
    marked.settle(3).await;
    running.abort();
    marked.settle(0).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_midway_ends_its_program() {
    let (marked, folder) = (Marked::new(), Folder::new("midway"));
    let cleanup = CleanupLayer::new();
    let count = marked
        .sh("seq 1 1000000; echo done > \"$1\"; sleep 60", &["{file}"])
        .with_output(CommandOutput::Lines);
    let file = folder.file("done");
    let args = json!({ "file": file });
    let mut lines = stack(count, LONG, &cleanup)
        .oneshot(call(args))
        .await
        .unwrap()
        .into_stream();
    for n in 1..=3 {
        assert_eq!(lines.next().await.unwrap().unwrap(), n.to_string().into());
    }
    // Nobody reads: the program waits, and does not come to its end.
    sleep(Duration::from_millis(300)).await;
    assert!(!std::fs::exists(&file).unwrap());
    assert_ne!(marked.alive(), 0);
    drop(lines);
    cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
}

/// A consumer that has stopped reading does not keep a program alive past the limit.
#[tokio::test]
async fn a_limit_ends_the_program_of_a_stream_that_nobody_reads() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let endless = marked
        .sh("while :; do echo again; done", &[])
        .with_output(CommandOutput::Lines);
    let tool = stack(endless, Duration::from_millis(300), &cleanup);
    let mut lines = tool.oneshot(call(json!({}))).await.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "again".into());
    marked.settle(0).await;
    let error = loop {
        match lines.next().await.expect("it ends in an error") {
            Ok(line) => assert_eq!(line, "again".into()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// Its grace is lost with the runtime; its end is not.
#[test]
fn a_runtime_that_shuts_down_takes_its_programs_along() {
    let marked = Marked::new();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let deaf = marked.sh("trap '' TERM; sleep 60 & sleep 60", &[]);
    first.spawn(deaf.oneshot(call(json!({}))));
    first.block_on(marked.settle(3));
    drop(first);
    runtime().block_on(marked.settle(0));
}

/// The hook of a command that ended well has nothing to wait for; its outcome is the caller's.
#[tokio::test]
async fn one_hook_for_each_command() {
    let cleanup = CleanupLayer::new();
    let tool = CommandTool::new("true", "true");
    for _ in 0..3 {
        let call = ToolCall::new("true", json!(null));
        call.context()
            .on_cleanup(async |outcome| assert_eq!(outcome, Outcome::Completed));
        let answered = cleanup.layer(tool.clone()).oneshot(call);
        timeout(LONG, answered).await.unwrap().unwrap();
    }
    let missing = cleanup.layer(CommandTool::new("missing", "no-such-program"));
    missing
        .oneshot(ToolCall::new("missing", json!(null)))
        .await
        .unwrap_err();
    let report = cleanup.drain(LONG).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (6, 0, 0));
}

#[test]
fn a_tool_is_shared_and_its_calls_are_sent() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn is_sent<T: Send + 'static>(_: &T) {}
    let mut tool = CommandTool::new("true", "true");
    is_shared(&tool);
    is_sent(&tower::Service::call(&mut tool, call(json!({}))));
}
