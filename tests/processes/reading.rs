//! How much is read, and when: the exit of a program, and writers without end.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{sleep, timeout};
use toolbooth::{CleanupLayer, CommandOutput, CommandStderr, Content};
use tower::ServiceExt;

use super::{LONG, Marked, Result_, call, respond, stack};

/// Case C4. The writer has left the session, so it is not ended.
#[tokio::test]
async fn reading_ends_after_the_program_although_a_writer_goes_on() -> Result_ {
    let marked = Marked::new();
    for redirect in ["", ">&2"] {
        // Slower than the reader: what it writes before the exit is noticed is little.
        let writer = format!("setsid sh -c 'while :; do echo y {redirect}; done'");
        let script = format!("{writer} & sleep 0.3; echo done {redirect}");
        let output = respond(marked.sh(&script, &[]), json!({})).await?;
        let meta = output.meta().expect("metadata");
        assert_eq!(meta["exit_code"], 0);
        let text = output.contents()[0].as_text().expect("a text");
        assert!(text.starts_with("y\ny\n"));
        // What the pipe held follows, and what was read before the exit was noticed.
        let (_, rest) = text
            .rsplit_once("done\n")
            .expect("the last line of the program");
        assert!(rest.len() <= 64 * 1_024, "{}", rest.len());
        assert!(rest.bytes().all(|byte| matches!(byte, b'y' | b'\n')));
    }
    // Its next write ends the writer by SIGPIPE.
    let ended = async {
        while marked.alive() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, ended).await?;
    Ok(())
}

/// Case C4b. The writer of the group ends with the program, whose exit is noticed while the
/// consumer pauses.
#[tokio::test]
async fn exit_is_noticed_while_the_consumer_is_slow() -> Result_ {
    for stderr in [CommandStderr::Separate, CommandStderr::Merged] {
        let (marked, cleanup) = (Marked::new(), CleanupLayer::new());
        let tool = marked
            .sh("yes & sleep 0.3; echo done", &[])
            .with_output(CommandOutput::Lines)
            .with_stderr(stderr);
        let tool = stack(tool, LONG, &cleanup);
        let mut lines = tool.oneshot(call(json!({}))).await?.into_stream();
        let (mut count, mut last) = (0, None);
        let reading = async {
            while let Some(line) = lines.next().await {
                last = Some(line?);
                count += 1;
                if count % 20 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<_, toolbooth::ToolError>(())
        };
        timeout(LONG, reading).await??;
        assert!(count > 20, "{count}");
        // The pipe of a stream is small: hundreds of pauses, not thousands.
        assert!(count < 40_000, "{count}");
        assert!(last.is_some_and(|last| last == "done".into() || last == "y".into()));
        cleanup.drain(LONG).await;
        assert_eq!(marked.alive(), 0);
    }
    Ok(())
}

/// Case C4b. A consumer that does not read at all.
#[tokio::test]
async fn group_ends_with_its_program_while_nothing_is_read() -> Result_ {
    let marked = Marked::new();
    let tool = marked
        .sh("yes & sleep 0.3", &[])
        .with_output(CommandOutput::Lines);
    let mut lines = tool.oneshot(call(json!({}))).await?.into_stream();
    assert_eq!(lines.next().await.expect("a line")?, "y".into());
    marked.eventually(0).await;
    // What the pipe held is still delivered.
    let rest: Vec<_> = lines.collect().await;
    let rest: Vec<Content> = rest.into_iter().collect::<Result<_, _>>()?;
    assert!(rest.len() > 1_000, "{}", rest.len());
    Ok(())
}

/// All of it is the program's own output, however slow the consumer is.
#[tokio::test]
async fn slow_consumer_receives_each_line_of_a_program_that_has_exited() -> Result_ {
    let tool = Marked::new()
        .sh("seq 1 2000", &[])
        .with_output(CommandOutput::Lines);
    let mut lines = tool.oneshot(call(json!({}))).await?.into_stream();
    for n in 1..=2_000 {
        assert_eq!(lines.next().await.expect("a line")?, n.to_string().into());
        if n % 100 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(lines.next().await.is_none());
    Ok(())
}
