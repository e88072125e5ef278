//! Limits on what a program may use. They need `prlimit` and `setpriv` of util-linux.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use toolbooth::{CommandError, CommandOutput, CommandTool, ConfigError, ErrorKind};

use super::{Folder, LONG, Marked, Result_, command_error, respond};

/// Runs the named test of this file in a process of its own, with a variable set to `value`.
fn this_test(name: &str, variable: &str, value: &str) -> Command {
    let me = std::env::current_exe().expect("a file");
    let mut command = Command::new(me);
    command
        .args(["--exact", &format!("limits::{name}"), "--nocapture"])
        .env(variable, value);
    command
}

#[tokio::test]
async fn limits_are_those_of_the_program_and_its_children() -> Result_ {
    let tool = Marked::new()
        .sh("cat /proc/self/limits; echo $1", &["{a}"])
        .with_cpu_limit(Duration::from_millis(6_500))?
        .with_memory_limit(1 << 30)?
        .with_process_limit(12_345)?
        .with_file_size_limit(1 << 20)?;
    let text = respond(tool, json!({ "a": "--as=1" })).await?.text();
    let limit = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let fields = line.expect(name).split_whitespace();
        fields.take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max cpu time"), ["7", "8"]);
    assert_eq!(limit("Max address space"), ["1073741824", "1073741824"]);
    assert_eq!(limit("Max processes"), ["12345", "12345"]);
    assert_eq!(limit("Max file size"), ["1048576", "1048576"]);
    assert!(
        text.ends_with("--as=1\n"),
        "the arguments are those of the program"
    );
    Ok(())
}

#[tokio::test]
async fn longest_limits_are_no_limits() -> Result_ {
    let tool = Marked::new()
        .sh("cat /proc/self/limits", &[])
        .with_cpu_limit(Duration::MAX)?
        .with_file_size_limit(u64::MAX)?;
    let text = respond(tool, json!({})).await?.text();
    for name in ["Max cpu time", "Max file size"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let soft = line.and_then(|line| line.split_whitespace().next());
        assert_eq!(soft, Some("unlimited"), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn limit_that_ends_a_program_is_named() -> Result_ {
    let (marked, folder) = (Marked::new(), Folder::new("limits"));
    let busy = "while :; do :; done";
    let cpu = |script: &str| {
        let tool = marked.sh(script, &[]);
        tool.with_cpu_limit(Duration::from_millis(1))
    };
    let text = "the program `sh` ended with signal: 24 (SIGXCPU), by its limit of 1 s of CPU time";
    let output = respond(cpu(busy)?, json!({})).await?;
    assert_eq!((output.is_error(), output.text().as_str()), (true, text));

    let lines = cpu(busy)?.with_output(CommandOutput::Lines);
    let error = respond(lines, json!({})).await.unwrap_err();
    assert_eq!(command_error(&error).to_string(), text);

    // A shell reports the signal of its program by its exit code.
    let output = respond(cpu(&format!("(trap - XCPU; {busy}); exit $?"))?, json!({})).await?;
    let last = output.contents().last().and_then(|last| last.as_text());
    let last = last.expect("a text");
    assert!(last.contains("CPU time"), "{last}");

    let file = folder.file("big");
    let write = marked.sh("exec head -c 9000 /dev/zero > \"$1\"", &["{file}"]);
    let write = write.with_file_size_limit(5_000)?;
    let output = respond(write, json!({ "file": file })).await?;
    let text =
        "the program `sh` ended with signal: 25 (SIGXFSZ), by its limit of 5000 bytes on a file";
    assert_eq!(output.text(), text);
    assert_eq!(std::fs::metadata(file)?.len(), 5_000);
    Ok(())
}

#[tokio::test]
async fn allocation_beyond_the_memory_limit_fails() -> Result_ {
    let tool = CommandTool::new("head", "head").with_args(["-c", "1", "/dev/zero"])?;
    let small = tool.clone().with_memory_limit(1 << 20)?;
    assert!(respond(small, json!({})).await?.is_error());
    let large = tool.with_memory_limit(1 << 30)?;
    assert!(!respond(large, json!({})).await?.is_error());
    Ok(())
}

/// The errors of the system for the program itself, although another program executes it.
#[tokio::test]
async fn missing_program_behind_a_limit_is_not_started() -> Result_ {
    for (program, kind) in [
        ("no-such-program", std::io::ErrorKind::NotFound),
        ("/no/such/program", std::io::ErrorKind::NotFound),
        ("/etc/passwd", std::io::ErrorKind::PermissionDenied),
    ] {
        let tool = CommandTool::new("t", program).with_memory_limit(1 << 30)?;
        let error = respond(tool, json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        let CommandError::NotStarted { source, .. } = command_error(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), kind, "{program}");
    }
    Ok(())
}

/// In a process of its own, without a `PATH`.
#[test]
fn limit_without_its_helper_program_is_a_configuration_error() {
    const CHILD: &str = "TOOLBOOTH_TEST_WITHOUT_HELPERS";
    if std::env::var_os(CHILD).is_none() {
        let name = "limit_without_its_helper_program_is_a_configuration_error";
        let ended = this_test(name, CHILD, "1").env("PATH", "/nowhere").status();
        assert!(ended.unwrap().success());
        return;
    }
    let tool = CommandTool::new("true", "true");
    let built = [
        (tool.clone().with_cpu_limit(LONG), "prlimit"),
        (tool.clone().with_memory_limit(1), "prlimit"),
        (tool.clone().with_process_limit(1), "prlimit"),
        (tool.clone().with_file_size_limit(1), "prlimit"),
        (tool.clone().with_kill_on_host_exit(true), "setpriv"),
    ];
    for (built, missing) in built {
        let error = built.unwrap_err();
        let ConfigError::MissingProgram { program, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(program, missing);
    }
    assert!(tool.with_kill_on_host_exit(false).is_ok());
}

/// The host is a process of its own, which is killed. The thread that makes the call ends before,
/// and its program lives on.
#[test]
fn program_is_killed_when_its_host_is_killed() {
    const HOST: &str = "TOOLBOOTH_TEST_HOST";
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    if let Ok(mark) = std::env::var(HOST) {
        let runtime = std::sync::Arc::new(runtime());
        let spawned = std::sync::Arc::clone(&runtime);
        let tool = CommandTool::new("sleep", "sleep").with_arg("60").unwrap();
        let tool = Marked(mark)
            .mark(tool)
            .with_kill_on_host_exit(true)
            .unwrap();
        let (sender, started) = std::sync::mpsc::channel();
        let first = std::thread::spawn(move || {
            let mut call = Box::pin(respond(tool, json!({})));
            spawned.block_on(async {
                assert!(futures_util::poll!(&mut call).is_pending());
            });
            sender.send(call).unwrap();
        });
        first.join().unwrap();
        let call = started.recv().unwrap();
        let output = runtime.block_on(call);
        unreachable!("the program has ended: {output:?}");
    }
    let marked = Marked::new();
    let name = "program_is_killed_when_its_host_is_killed";
    let mut host = this_test(name, HOST, &marked.0);
    let mut host = host.stdout(Stdio::null()).spawn().unwrap();
    let runtime = runtime();
    runtime.block_on(marked.eventually_runs("sleep"));
    host.kill().unwrap();
    host.wait().unwrap();
    runtime.block_on(marked.eventually(0));
}
