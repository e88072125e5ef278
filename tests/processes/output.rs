//! Output, standard error and exit code of a program, and their bounds.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use toolbooth::process::{MAX_LINE, STDERR_TAIL};
use toolbooth::{
    CleanupLayer, CommandError, CommandOutput, CommandTool, Content, ErrorKind, Outcome,
    TimeoutLayer, TimeoutScope,
};
use toolbooth_test::timeout_of;
use tower::{Layer, ServiceExt};

use super::{LONG, Marked, Result_, call, command_error, respond, stack};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn output_is_text_lines_json_or_bytes() -> Result_ {
    let marked = Marked::new();
    let tool = |output| marked.sh("cat", &[]).with_output(output);
    let read = |output, input: &str| {
        let tool = tool(output).with_stdin("{input}");
        let args = json!({ "input": input });
        async { Ok::<_, toolbooth::BoxError>(respond(tool?, args).await?.into_contents()) }
    };
    assert_eq!(
        read(CommandOutput::Text, "a\nb\n").await?,
        ["a\nb\n".into()]
    );
    let lines = read(CommandOutput::Lines, "a\r\n\n  b ").await?;
    assert_eq!(lines, ["a".into(), "".into(), "  b ".into()]);
    assert_eq!(read(CommandOutput::Lines, "").await?, []);
    assert_eq!(
        read(CommandOutput::Json, "{\"a\": [1]}\n").await?,
        [json!({ "a": [1] }).into()]
    );
    let data = Content::data("image/png", "\u{0}\u{1}".as_bytes().to_vec());
    assert_eq!(
        read(CommandOutput::bytes("image/png"), "\u{0}\u{1}").await?,
        [data]
    );

    let bytes = marked.sh("printf 'a\\377b'", &[]);
    assert_eq!(respond(bytes, json!({})).await?.text(), "a\u{fffd}b");
    Ok(())
}

#[tokio::test]
async fn output_that_is_no_json_is_an_error() -> Result_ {
    let marked = Marked::new();
    for script in ["echo '{\"a\": '", "true", "echo 1 2"] {
        let tool = marked.sh(script, &[]).with_output(CommandOutput::Json);
        let error = respond(tool, json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        assert!(
            matches!(command_error(&error), CommandError::NotJson { .. }),
            "{error:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn exit_code_is_in_the_response() -> Result_ {
    let marked = Marked::new();
    for (script, meta, contents) in [
        (
            "echo out; echo why >&2",
            json!({ "exit_code": 0 }),
            vec!["out\n"],
        ),
        (
            "echo out; echo >&2; echo why >&2; exit 3",
            json!({ "exit_code": 3 }),
            vec!["out\n", "the program `sh` ended with exit status: 3: why"],
        ),
        (
            "exit 1",
            json!({ "exit_code": 1 }),
            vec!["the program `sh` ended with exit status: 1"],
        ),
        (
            "kill -9 $$",
            json!({ "signal": 9 }),
            vec!["the program `sh` ended with signal: 9 (SIGKILL)"],
        ),
    ] {
        for output in [CommandOutput::Text, CommandOutput::Json] {
            if output == CommandOutput::Json && meta["exit_code"] == 0 {
                continue;
            }
            let output = respond(marked.sh(script, &[]).with_output(output), json!({})).await?;
            assert_eq!(
                output.meta().cloned().map(Value::Object),
                Some(meta.clone())
            );
            assert_eq!(output.is_error(), meta["exit_code"] != 0);
            let contents: Vec<_> = contents.iter().map(|&text| text.into()).collect();
            assert_eq!(output.contents(), contents, "{script}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn stream_of_lines_ends_with_the_exit_code() -> Result_ {
    let marked = Marked::new();
    let cleanup = CleanupLayer::new();
    let tool = marked
        .sh("echo a; echo why >&2; printf b; exit 3", &[])
        .with_output(CommandOutput::Lines);
    let mut lines = stack(tool, LONG, &cleanup)
        .oneshot(call(json!({})))
        .await?
        .into_stream();
    assert_eq!(lines.next().await.unwrap()?, "a".into());
    assert_eq!(lines.next().await.unwrap()?, "b".into());
    let error = lines.next().await.unwrap().unwrap_err();
    assert!(lines.next().await.is_none());
    assert_eq!(error.outcome(), Outcome::Failed);
    assert_eq!(
        error.partial().unwrap().contents(),
        ["a".into(), "b".into()]
    );
    let CommandError::Exited { status, stderr, .. } = command_error(&error) else {
        panic!("{error:?}");
    };
    assert_eq!((status.code(), stderr.as_str()), (Some(3), "why"));
    assert_eq!(
        command_error(&error).to_string(),
        "the program `sh` ended with exit status: 3: why"
    );
    Ok(())
}

/// More than a pipe holds.
#[tokio::test]
async fn tail_of_a_long_standard_error_is_kept() -> Result_ {
    let marked = Marked::new();
    let tool = marked.sh("seq 1 1000000 >&2; echo out; exit 2", &[]);
    let output = respond(tool, json!({})).await?;
    let [out, ended] = output.contents() else {
        panic!("{output:?}");
    };
    assert_eq!(out, &"out\n".into());
    let text = ended.as_text().unwrap();
    assert!(
        text.starts_with("the program `sh` ended with exit status: 2: "),
        "{text}"
    );
    assert!(text.ends_with("\n999999\n1000000"), "{text}");
    assert!((STDERR_TAIL..STDERR_TAIL + 100).contains(&text.len()));
    Ok(())
}

#[tokio::test]
async fn output_so_far_is_the_partial_result() -> Result_ {
    let marked = Marked::new();
    for (output, kept) in [
        (CommandOutput::Text, vec!["a".into(), "b".into()]),
        (CommandOutput::Json, vec!["a".into(), "b".into()]),
        (
            CommandOutput::bytes("a/b"),
            vec![Content::data("a/b", "a\nb\nc".as_bytes())],
        ),
    ] {
        let cleanup = CleanupLayer::new();
        let tool = marked
            .sh("printf 'a\\nb\\nc'; sleep 60", &[])
            .with_output(output);
        let tool = stack(tool, Duration::from_millis(400), &cleanup);
        let error = tool.oneshot(call(json!({}))).await.unwrap_err();
        assert_eq!(error.partial().unwrap().contents(), kept);
        cleanup.drain(LONG).await;
    }
    assert_eq!(marked.alive(), 0);
    Ok(())
}

#[tokio::test]
async fn output_cap_keeps_the_first_bytes_and_the_program_completes() -> Result_ {
    let marked = Marked::new();
    let tool = marked
        .sh("printf 'abc\\ndä'; printf 'f\\ng'; exit $1", &["{code}"])
        .with_output_cap(6);
    let output = respond(tool.clone(), json!({ "code": 0 })).await?;
    assert_eq!(output.text(), "abc\nd", "without half of a character");
    assert_eq!(output.meta().unwrap()["dropped_bytes"], 4);
    let output = respond(tool.clone(), json!({ "code": 7 })).await?;
    assert_eq!(
        (output.is_error(), &output.meta().unwrap()["exit_code"]),
        (true, &json!(7))
    );

    let too_long = |error| match command_error(&error) {
        CommandError::OutputTooLong {
            cap: 6, dropped, ..
        } => *dropped,
        other => panic!("{other:?}"),
    };
    let lines = tool.clone().with_output(CommandOutput::Lines);
    let error = respond(lines.clone(), json!({ "code": 0 }))
        .await
        .unwrap_err();
    assert_eq!(error.partial().unwrap().contents(), ["abc".into()]);
    assert_eq!(too_long(error), 4);
    let error = respond(lines, json!({ "code": 7 })).await.unwrap_err();
    assert!(matches!(command_error(&error), CommandError::Exited { .. }));
    let value = tool.with_output(CommandOutput::Json);
    assert_eq!(
        too_long(respond(value, json!({ "code": 0 })).await.unwrap_err()),
        4
    );
    Ok(())
}

/// Returns the peak memory of this process in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.and_then(|peak| peak.parse().ok())
        .expect("a number of KiB")
}

/// 100 MB in at most 8 MiB of memory.
#[tokio::test]
async fn output_of_100_megabytes_needs_bounded_memory() -> Result_ {
    const BYTES: usize = 100_000_000;
    let head = |bytes: &str| CommandTool::new("head", "head").with_args(["-c", bytes, "/dev/zero"]);
    let before = peak();

    let output = respond(head("100000000")?, json!({})).await?;
    assert_eq!(output.text().len(), MIB, "the default cap");
    assert_eq!(output.meta().unwrap()["dropped_bytes"], BYTES - MIB);
    drop(output);

    let capped = Marked::new()
        .sh("yes | head -c 100000000", &[])
        .with_output(CommandOutput::Lines);
    let mut lines = capped.oneshot(call(json!({}))).await?.into_stream();
    let mut count = 0;
    let error = loop {
        match lines.next().await.expect("it ends in an error") {
            Ok(line) => assert_eq!(line, "y".into()),
            Err(error) => break error,
        }
        count += 1;
    };
    assert_eq!(count, MIB / 2);
    assert!(
        matches!(command_error(&error), CommandError::OutputTooLong { dropped, .. } if *dropped == (BYTES - MIB) as u64)
    );

    // One endless line without a cap.
    let endless = head("10000000")?
        .with_output(CommandOutput::Lines)
        .with_output_cap(usize::MAX);
    let mut items = endless.oneshot(call(json!({}))).await?.into_stream();
    let mut bytes = 0;
    while let Some(item) = items.next().await {
        let size = item?.size();
        assert!(size <= MAX_LINE);
        bytes += size;
    }
    assert_eq!(bytes, 10_000_000);

    let grown = peak() - before;
    assert!(grown < 8 * 1_024, "{grown} KiB");
    Ok(())
}

/// On standard output or standard error, whether or not it is kept.
#[tokio::test]
async fn program_that_writes_is_not_idle() -> Result_ {
    let marked = Marked::new();
    let calls = [
        ("while :; do sleep 0.05; echo x; done", TimeoutScope::Total),
        (
            "while :; do sleep 0.05; echo x >&2; done",
            TimeoutScope::Total,
        ),
        ("echo x; sleep 60", TimeoutScope::Idle),
    ];
    let calls = calls.map(async |(script, expected)| {
        let limits = TimeoutLayer::new(Duration::from_secs(2)).with_idle(Duration::from_secs(1));
        let tool = limits.layer(marked.sh(script, &[]).with_output_cap(0));
        let error = tool.oneshot(call(json!({}))).await.unwrap_err();
        let (scope, ..) = timeout_of(&error).expect(script);
        assert_eq!(scope, expected, "{script}");
    });
    join_all(calls).await;
    marked.eventually(0).await;
    Ok(())
}
