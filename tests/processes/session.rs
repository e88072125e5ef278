//! The session of a program, and the signals at the start of a grace.

use std::time::Duration;

use serde_json::json;
use toolbooth::{
    CleanupLayer, CommandOutput, CommandTool, ErrorKind, PartialResultLayer, TimeoutLayer, ToolCall,
};
use toolbooth_test::timeout_of;
use tower::{ServiceBuilder, ServiceExt};

use super::{LONG, Marked, Result_, call, respond};

/// Case C5. Opening `/dev/tty` fails in a session without a controlling terminal.
#[tokio::test]
async fn program_leads_a_session_without_a_controlling_terminal() -> Result_ {
    let marked = Marked::new();
    let tool = marked.sh("cat /proc/$$/stat; read x </dev/tty", &[]);
    let output = respond(tool, json!({})).await?;
    assert!(output.is_error());
    let [stat, why, _] = output.contents() else {
        panic!("{output:?}");
    };
    let why = why.as_text().unwrap();
    assert!(why.contains("/dev/tty"), "{why}");
    // `pid (name) state parent group session terminal ...`
    let fields: Vec<_> = stat.as_text().unwrap().split_whitespace().collect();
    let [id, _, _, _, group, session, terminal] = fields[..7] else {
        panic!("{fields:?}");
    };
    assert_eq!((group, session, terminal), (id, id, "0"));
    Ok(())
}

/// Case C5. This test starts itself in a pseudo-terminal of util-linux's `script`, where a program
/// could open `/dev/tty` if it were in this session.
#[test]
fn program_fails_at_once_to_read_from_the_terminal_of_this_process() {
    const CHILD: &str = "TOOLBOOTH_TEST_IN_A_TERMINAL";
    if std::env::var_os(CHILD).is_none() {
        let name = "session::program_fails_at_once_to_read_from_the_terminal_of_this_process";
        let me = std::env::current_exe().unwrap();
        let line = format!("'{}' --exact {name} --nocapture", me.display());
        let script = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env(CHILD, "1")
            .stdin(std::process::Stdio::null())
            .output();
        match script {
            Ok(ended) => {
                let text = String::from_utf8_lossy(&ended.stdout);
                assert!(ended.status.success(), "{text}");
                assert!(text.contains("read in a terminal: failed"), "{text}");
            }
            // The test above does not need it.
            Err(error) => eprintln!("the program `script` of util-linux is missing: {error}"),
        }
        return;
    }
    assert!(
        std::fs::File::open("/dev/tty").is_ok(),
        "there is a terminal"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tool = Marked::new().sh("read x </dev/tty", &[]);
    let output = runtime.block_on(respond(tool, json!({}))).unwrap();
    assert!(output.is_error() && output.text().contains("/dev/tty"));
    println!("read in a terminal: failed");
}

/// Case C3. SIGTERM at the limit, and the rest of the grace is not awaited.
#[tokio::test]
async fn program_receives_sigterm_at_the_start_of_the_grace() -> Result_ {
    let marked = Marked::new();
    // The shell would report that its `sleep` was terminated.
    let script = "exec 2>/dev/null; trap 'echo summary; printf end; exit 0' TERM; \
                  echo start; while :; do sleep 0.05; done";
    for output in [CommandOutput::Text, CommandOutput::bytes("a/b")] {
        let cleanup = CleanupLayer::new();
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_millis(500)).with_grace(LONG))
            .layer(cleanup.clone())
            .layer(PartialResultLayer::new())
            .service(marked.sh(script, &[]).with_output(output.clone()));
        // Without SIGTERM the call would last for the grace.
        let response = tokio::time::timeout(LONG, tool.oneshot(call(json!({})))).await?;
        let error = response.unwrap_err();
        assert!(timeout_of(&error).is_some(), "{error:?}");
        let contents = error.into_partial().expect("some output").into_contents();
        match output {
            CommandOutput::Text => {
                assert_eq!(contents, ["start".into(), "summary".into(), "end".into()]);
            }
            _ => assert_eq!(contents.len(), 1, "{contents:?}"),
        }
        assert_eq!(cleanup.drain(LONG).await.ran, 1);
        assert_eq!(marked.alive(), 0);
    }
    Ok(())
}

/// A program that ends by SIGTERM, or with an error, has no response of its own.
#[tokio::test]
async fn program_that_ends_by_sigterm_in_the_grace_leaves_its_output_so_far() -> Result_ {
    let marked = Marked::new();
    for script in [
        "echo start; echo why >&2; exec sleep 60",
        "trap 'exit 7' TERM; echo start; echo why >&2; while :; do sleep 0.05; done",
    ] {
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_millis(500)).with_grace(LONG))
            .layer(PartialResultLayer::new())
            .service(marked.sh(script, &[]));
        let response = tokio::time::timeout(LONG, tool.oneshot(call(json!({})))).await?;
        let error = response.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(std::error::Error::source(&error).is_none(), "{error:?}");
        let partial = error.partial().expect("some output");
        let [start, why] = partial.contents() else {
            panic!("{partial:?}");
        };
        assert_eq!(start, &"start".into());
        assert!(why.as_text().unwrap().starts_with("why"), "{why:?}");
    }
    marked.eventually(0).await;
    Ok(())
}

/// A stopped process receives SIGTERM only when it continues.
#[tokio::test]
async fn stopped_program_continues_to_receive_sigterm() -> Result_ {
    let marked = Marked::new();
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(500)).with_grace(LONG))
        .layer(PartialResultLayer::new())
        .service(marked.sh("trap 'echo continued; exit' TERM; kill -STOP $$", &[]));
    let response = tokio::time::timeout(LONG, tool.oneshot(call(json!({})))).await?;
    let error = response.unwrap_err();
    let partial = error.partial().expect("some output");
    assert_eq!(partial.contents(), ["continued".into()]);
    Ok(())
}

#[tokio::test]
async fn program_that_ignores_sigterm_in_the_grace_is_killed_afterwards() -> Result_ {
    let (marked, cleanup) = (Marked::new(), CleanupLayer::new());
    let limit = TimeoutLayer::new(Duration::from_millis(300));
    let deaf = marked.sh("trap '' TERM; echo armed; while :; do sleep 60; done", &[]);
    let tool = ServiceBuilder::new()
        .layer(limit.with_grace(Duration::from_millis(700)))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(deaf.with_kill_grace(Duration::from_millis(600)));
    let error = tool.oneshot(call(json!({}))).await.unwrap_err();
    let partial = error.partial().expect("some output");
    assert_eq!(partial.contents(), ["armed".into()]);
    let report = cleanup.drain(LONG).await;
    assert_eq!((report.ran, report.failed), (1, 0));
    assert_eq!(marked.alive(), 0);
    Ok(())
}

/// Without any layer.
#[tokio::test]
async fn cancelled_program_ends_and_its_call_is_cancelled() -> Result_ {
    let marked = Marked::new();
    for output in [CommandOutput::Text, CommandOutput::Lines] {
        let call = ToolCall::new("sleep", json!({}));
        let canceller = call.canceller();
        let tool = marked.mark(CommandTool::new("sleep", "sleep").with_arg("60")?);
        let tool = tool.with_output(output);
        let response = tokio::spawn(async { tool.oneshot(call).await?.collect().await });
        marked.eventually(1).await;
        canceller.cancel();
        let error = tokio::time::timeout(LONG, response).await??.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        marked.eventually(0).await;
    }
    Ok(())
}
