//! The end of a call, in any way, ends its processes.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{sleep, timeout};
use toolbooth::{CleanupLayer, CommandOutput, CommandTool, ErrorKind, Outcome, ToolCall};
use tower::{Layer, ServiceExt};

use super::{Folder, LONG, Marked, call, respond, stack};

const TWO_SLEEPERS: &str = "sleep 60 & echo begun; echo waiting; sleep 60";

#[tokio::test]
async fn no_process_of_30_commands_that_timed_out_is_alive_after_drain() {
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
        let kept = error.partial().expect("some output").contents();
        assert_eq!(kept, ["begun".into(), "waiting".into()]);
    }
    let report = cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
    assert_eq!((report.ran, report.failed, report.abandoned), (30, 0, 0));
}

#[tokio::test]
async fn program_that_ignores_sigterm_is_killed_after_the_grace() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let deaf = marked
        .sh(
            "trap '' TERM; sleep 60 & echo armed; while :; do sleep 60; done",
            &[],
        )
        .with_kill_grace(Duration::from_secs(1))
        .with_output(CommandOutput::Lines);
    let response = stack(deaf, LONG, &cleanup).oneshot(call(json!({}))).await;
    let mut lines = response.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "armed".into());
    marked.eventually(3).await;
    drop(lines);
    assert_eq!(marked.alive(), 3, "SIGTERM does nothing to them");
    assert_eq!(cleanup.drain(LONG).await.ran, 1);
    assert_eq!(marked.alive(), 0);
}

/// As many hooks as a call may have.
#[tokio::test]
async fn end_of_a_program_is_awaited_besides_64_hooks() {
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
    let response = stack(deaf, LONG, &cleanup).oneshot(hooked).await;
    let mut lines = response.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "armed".into());
    drop(lines);
    assert_eq!(cleanup.drain(LONG).await.ran, 65);
    assert_eq!(marked.alive(), 0);
}

/// It also writes more than a pipe holds, although its output is not read any more.
#[tokio::test]
async fn program_ends_itself_within_the_grace() {
    let (marked, folder) = (Marked::new(), Folder::new("grace"));
    let cleanup = CleanupLayer::new();
    let tidy = marked
        .sh("trap 'echo bye; echo bye >&2; seq 1 100000; seq 1 100000 >&2; echo tidy > \"$1\"; exit' TERM; echo armed; while :; do sleep 0.02; done", &["{file}"])
        .with_kill_grace(Duration::from_secs(4))
        .with_output(CommandOutput::Lines);
    let file = folder.file("ended");
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
async fn processes_that_a_program_leaves_end_with_it() {
    for (script, grace) in [
        // It keeps the output of the program open.
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
        let output = tool
            .oneshot(call(json!({})))
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert_eq!(output.text(), "done\n", "{script}");
        assert_eq!(cleanup.drain(LONG).await.ran, 1);
        assert_eq!(marked.alive(), 0, "{script}");
    }
}

#[tokio::test]
async fn process_that_leaves_the_group_is_not_awaited() {
    let marked = Marked::new();
    let output = respond(
        marked.sh("setsid sleep 8 & sleep 0.3; echo done", &[]),
        json!({}),
    )
    .await;
    assert_eq!(output.unwrap().text(), "done\n");
    assert_eq!(marked.alive(), 1, "the process that left");
}

/// Before its first poll, while it starts, while it runs; by an abort, and by a panic of its task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_is_dropped_at_any_instant_leaves_no_process() {
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
                () = sleep(moment) => panic!("in the task of the call"),
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
async fn dropped_call_without_any_layer_ends_its_program() {
    let marked = Marked::new();
    let tool = marked.sh(TWO_SLEEPERS, &[]);
    let running = tokio::spawn(tool.oneshot(call(json!({}))));
    marked.eventually(3).await;
    running.abort();
    marked.eventually(0).await;
}

#[tokio::test]
async fn dropped_stream_ends_its_program() {
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
    // Its output is not read, so that the program waits.
    sleep(Duration::from_millis(300)).await;
    assert!(!std::fs::exists(&file).unwrap());
    assert_ne!(marked.alive(), 0);
    drop(lines);
    cleanup.drain(LONG).await;
    assert_eq!(marked.alive(), 0);
}

#[tokio::test]
async fn limit_ends_the_program_of_a_stream_that_is_not_read() {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let endless = marked
        .sh("while :; do echo again; done", &[])
        .with_output(CommandOutput::Lines);
    let tool = stack(endless, Duration::from_millis(300), &cleanup);
    let mut lines = tool.oneshot(call(json!({}))).await.unwrap().into_stream();
    assert_eq!(lines.next().await.unwrap().unwrap(), "again".into());
    marked.eventually(0).await;
    let error = loop {
        match lines.next().await.expect("it ends in an error") {
            Ok(line) => assert_eq!(line, "again".into()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// Without a grace.
#[test]
fn shutdown_of_the_runtime_ends_its_programs() {
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
    first.block_on(marked.eventually(3));
    drop(first);
    runtime().block_on(marked.eventually(0));
}

#[tokio::test]
async fn each_command_has_one_hook() {
    let cleanup = CleanupLayer::new();
    let tool = CommandTool::new("true", "true");
    for _ in 0..3 {
        let call = ToolCall::new("true", json!(null));
        call.context()
            .on_cleanup(async |outcome| assert_eq!(outcome, Outcome::Completed));
        let response = cleanup.layer(tool.clone()).oneshot(call);
        timeout(LONG, response).await.unwrap().unwrap();
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
fn tool_is_shareable_and_its_calls_are_sendable() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn is_sent<T: Send + 'static>(_: &T) {}
    let mut tool = CommandTool::new("true", "true");
    is_shared(&tool);
    is_sent(&tower::Service::call(&mut tool, call(json!({}))));
}
