//! Output, standard error and exit code of a program, and their bounds.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use toolbooth::breaker::BreakerState;
use toolbooth::process::{MAX_LINE, STDERR_TAIL};
use toolbooth::{
    CircuitBreakerLayer, CleanupLayer, CommandError, CommandOutput, CommandStderr, CommandTool,
    Content, ErrorKind, Outcome, TimeoutLayer, TimeoutScope,
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
        ("echo out", json!({ "exit_code": 0 }), vec!["out\n"]),
        ("true", json!({ "exit_code": 0 }), vec![""]),
        (
            "echo out; echo >&2; echo why >&2; exit 3",
            json!({ "exit_code": 3, "stderr": 1 }),
            vec!["out\n", "why", "the program `sh` ended with exit status: 3"],
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

/// Case B1. The program's half: exit codes that are results.
#[tokio::test]
async fn ok_exit_code_is_not_an_error() -> Result_ {
    let marked = Marked::new();
    let grep = CommandTool::new("grep", "grep")
        .with_args(["-e", "{pattern}"])?
        .with_stdin("a\nb\n")?;
    let named = grep.clone().with_ok_exit_codes([0, 1]);
    for (tool, pattern, code, is_error) in [
        (&grep, "a", 0, false),
        (&grep, "c", 1, true),
        (&named, "a", 0, false),
        (&named, "c", 1, false),
        (&named, "[", 2, true),
    ] {
        let output = respond(tool.clone(), json!({ "pattern": pattern })).await?;
        let meta = output.meta().expect("metadata");
        let found = (meta["exit_code"].clone(), output.is_error());
        assert_eq!(found, (json!(code), is_error), "{pattern}");
    }
    assert_eq!(respond(named, json!({ "pattern": "c" })).await?.text(), "");

    let script = |output| {
        let tool = marked.sh("echo '{}'; exit 1", &[]).with_output(output);
        respond(tool.with_ok_exit_codes([0, 1]), json!({}))
    };
    let json = script(CommandOutput::Json).await?;
    assert_eq!(json.contents(), [json!({}).into()]);
    let lines = script(CommandOutput::Lines).await?;
    assert_eq!(lines.contents(), ["{}".into()]);
    // Without 0, 0 is an error as well. A signal always is.
    let tool = marked.sh("exit 0", &[]).with_ok_exit_codes([1]);
    assert!(respond(tool, json!({})).await?.is_error());
    let tool = marked.sh("kill -15 $$", &[]).with_ok_exit_codes([15, 143]);
    assert!(respond(tool, json!({})).await?.is_error());
    Ok(())
}

/// Case C1. As a content of its own, or merged in order.
#[tokio::test]
async fn standard_error_is_in_the_response() -> Result_ {
    let marked = Marked::new();
    let script = "echo one; echo warn >&2; echo two; echo end >&2";
    let tool = |output, stderr| {
        let tool = marked.sh(script, &[]).with_output(output);
        respond(tool.with_stderr(stderr), json!({}))
    };
    let only = respond(marked.sh("echo warn >&2", &[]), json!({})).await?;
    assert_eq!(only.contents(), ["warn".into()]);
    assert_eq!(only.meta().expect("metadata")["stderr"], 0);

    for stderr in [CommandStderr::Separate, CommandStderr::Tail] {
        let text = tool(CommandOutput::Text, stderr).await?;
        assert_eq!(text.contents(), ["one\ntwo\n".into(), "warn\nend".into()]);
        assert_eq!(text.meta().expect("metadata")["stderr"], 1);
        let bytes = tool(CommandOutput::bytes("a/b"), stderr).await?;
        let data = Content::data("a/b", "one\ntwo\n".as_bytes());
        assert_eq!(bytes.contents(), [data, "warn\nend".into()]);
        let lines = tool(CommandOutput::Lines, stderr).await?;
        let last = json!({ "stderr": "warn\nend" }).into();
        assert_eq!(lines.contents(), ["one".into(), "two".into(), last]);
    }
    let text = tool(CommandOutput::Text, CommandStderr::Merged).await?;
    assert_eq!(text.contents(), ["one\nwarn\ntwo\nend\n".into()]);
    assert_eq!(text.meta().expect("metadata").get("stderr"), None);
    let lines = tool(CommandOutput::Lines, CommandStderr::Merged).await?;
    let merged = ["one", "warn", "two", "end"].map(Content::from);
    assert_eq!(lines.contents(), merged);

    let json = marked.sh("echo '[1]'; echo warn >&2", &[]);
    let json = respond(json.with_output(CommandOutput::Json), json!({})).await?;
    assert_eq!(json.contents(), [json!([1]).into(), "warn".into()]);
    Ok(())
}

/// Case C8. For lines, and for a text before the standard error.
#[tokio::test]
async fn collected_texts_have_line_ends_between_them() -> Result_ {
    let marked = Marked::new();
    for (script, text) in [
        ("printf 'one\\ntwo'", "one\ntwo"),
        ("printf 'one\\n\\n\\ntwo\\n'", "one\n\n\ntwo"),
        ("true", ""),
    ] {
        let tool = marked.sh(script, &[]).with_output(CommandOutput::Lines);
        assert_eq!(respond(tool, json!({})).await?.text(), text, "{script}");
    }
    let tool = marked.sh("printf out; printf warn >&2; exit 1", &[]);
    assert_eq!(
        respond(tool, json!({})).await?.text(),
        "out\nwarn\nthe program `sh` ended with exit status: 1"
    );
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
        ["a".into(), "b".into()],
        "the standard error is in the error"
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

/// The sibling of Case B1 for a program whose lines are streamed: `grep` that finds nothing.
#[tokio::test]
async fn exit_code_is_no_failure_of_a_breaker_with_any_output() -> Result_ {
    let marked = Marked::new();
    for output in [CommandOutput::Text, CommandOutput::Lines] {
        let breaker = CircuitBreakerLayer::new();
        let tool = breaker.layer(marked.sh("exit 1", &[]).with_output(output));
        for _ in 0..6 {
            let response = tool.clone().oneshot(call(json!({}))).await?;
            // The stream ends with the error.
            response.collect().await.ok();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
    Ok(())
}

/// More than a pipe holds.
#[tokio::test]
async fn ends_of_a_long_standard_error_are_kept() -> Result_ {
    let marked = Marked::new();
    let tool = marked.sh("seq 1 1000000 >&2; echo out; exit 2", &[]);
    let written: u64 = (1..=1_000_000_u64)
        .map(|n| n.to_string().len() as u64 + 1)
        .sum();
    for (stderr, cap, start) in [
        (CommandStderr::Separate, MIB, "1\n2\n3\n"),
        (CommandStderr::Tail, STDERR_TAIL, "["),
    ] {
        let output = respond(tool.clone().with_stderr(stderr), json!({})).await?;
        let [out, stderr, _] = output.contents() else {
            panic!("{output:?}");
        };
        assert_eq!(out, &"out\n".into());
        let text = stderr.as_text().unwrap();
        assert!(text.starts_with(start) && text.ends_with("\n999999\n1000000"));
        let missing = written - cap as u64;
        assert!(text.contains(&format!("[{missing} bytes of output are missing here]\n")));
        assert!((cap..cap + 100).contains(&text.len()));
        let meta = output.meta().expect("metadata");
        assert_eq!(meta["stderr_dropped_bytes"], missing);
    }
    Ok(())
}

/// Case C2. Complete lines, the unfinished one, and the end of the standard error.
#[tokio::test]
async fn output_so_far_is_the_partial_result() -> Result_ {
    let marked = Marked::new();
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect::<Vec<_>>();
    let prompt = "printf 'Continue? [y/N] '; sleep 60";
    let half = "printf 'a\\nhalf'; sleep 60";
    let both = "echo 'need login' >&2; printf 'a\\nb\\nhalf'; sleep 60";
    let login = "echo 'need login' >&2; sleep 60";
    let data = Content::data("a/b", "a\nhalf".as_bytes());
    let calls = [
        (CommandOutput::Text, login, texts(&["need login"])),
        (CommandOutput::Text, prompt, texts(&["Continue? [y/N] "])),
        (CommandOutput::Text, half, texts(&["a", "half"])),
        (
            CommandOutput::Json,
            both,
            texts(&["a", "b", "half", "need login"]),
        ),
        (CommandOutput::Lines, login, texts(&["need login"])),
        (CommandOutput::Lines, prompt, texts(&["Continue? [y/N] "])),
        (
            CommandOutput::Lines,
            both,
            texts(&["a", "b", "half", "need login"]),
        ),
        (CommandOutput::bytes("a/b"), half, vec![data]),
    ];
    let calls = calls.map(async |(output, script, kept)| {
        let cleanup = CleanupLayer::new();
        let tool = marked.sh(script, &[]).with_output(output.clone());
        let tool = stack(tool, Duration::from_secs(1), &cleanup);
        let response = async { tool.oneshot(call(json!({}))).await?.collect().await };
        let error = response.await.unwrap_err();
        let partial = error.partial().expect("some output");
        assert_eq!(partial.contents(), kept, "{output:?} of {script}");
        cleanup.drain(LONG).await;
    });
    join_all(calls).await;
    assert_eq!(marked.alive(), 0);
    Ok(())
}

/// Case C2. Of a long output, the first and the last lines.
#[tokio::test]
async fn partial_result_has_the_ends_of_a_long_output() -> Result_ {
    let (marked, cleanup) = (Marked::new(), CleanupLayer::new());
    let tool = marked.sh("seq 1 100000; printf '...'; sleep 60", &[]);
    let tool = stack(tool.with_output_cap(40), Duration::from_secs(2), &cleanup);
    let error = tool.oneshot(call(json!({}))).await.unwrap_err();
    let texts: Vec<_> = error
        .partial()
        .expect("some output")
        .contents()
        .iter()
        .filter_map(Content::as_text)
        .collect();
    let first = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    assert_eq!(texts[..first.len()], first);
    let missing = 588_895 + 3 - 40;
    assert_eq!(
        texts[first.len()..],
        [
            format!("[{missing} bytes of output are missing here]").as_str(),
            "998",
            "99999",
            "100000",
            "..."
        ]
    );
    cleanup.drain(LONG).await;
    Ok(())
}

/// Case C9. A line states how much is missing.
#[tokio::test]
async fn output_cap_keeps_both_ends_and_the_program_completes() -> Result_ {
    let marked = Marked::new();
    let tool = marked
        .sh("printf 'abc\\ndä'; printf 'f\\ng'; exit $1", &["{code}"])
        .with_output_cap(6);
    let output = respond(tool.clone(), json!({ "code": 0 })).await?;
    assert_eq!(
        output.text(),
        "abc\n[4 bytes of output are missing here]\nf\ng"
    );
    assert_eq!(output.meta().unwrap()["dropped_bytes"], 4);
    let output = respond(tool.clone(), json!({ "code": 7 })).await?;
    assert_eq!(
        (output.is_error(), &output.meta().unwrap()["exit_code"]),
        (true, &json!(7))
    );
    let bytes = tool.clone().with_output(CommandOutput::bytes("a/b"));
    let output = respond(bytes, json!({ "code": 0 })).await?;
    let data = Content::data(
        "a/b",
        "abc\nd\u{c3}".chars().map(|c| c as u8).collect::<Vec<_>>(),
    );
    assert_eq!(
        output.contents(),
        [data, "[4 bytes of output are missing here]".into()]
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

    // The default cap is 1 MiB.
    let long = marked.sh("yes | head -c 1572864; echo end", &[]);
    let text = respond(long, json!({})).await?.text();
    assert!(text.starts_with("y\ny\n") && text.ends_with("y\ny\nend\n"));
    let line = "[524292 bytes of output are missing here]\n";
    assert_eq!(
        (text.matches(line).count(), text.len()),
        (1, MIB + line.len())
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
    let line = format!("\n[{} bytes of output are missing here]\n", BYTES - MIB);
    assert_eq!(output.text().len(), MIB + line.len(), "the default cap");
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
