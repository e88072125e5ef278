//! Arguments, input, folder and environment of a program.

use std::io;

use serde_json::json;
use toolbooth::{CommandError, CommandTool, ConfigError, ErrorKind, Outcome};

use super::{Folder, Marked, Result_, command_error, respond};

#[tokio::test]
async fn placeholder_is_one_argument_whatever_it_holds() -> Result_ {
    let folder = Folder::new("arguments");
    let touched = folder.file("touched");
    let words = [
        "",
        " two  words ",
        "it's \"quoted\"",
        "line\nline\n",
        &format!("$(touch {touched})"),
        &format!("`touch {touched}`"),
        &format!(";rm -rf x; touch {touched}"),
        "$HOME $1 *",
        "--option=x",
        "-e",
        "{word}",
        "\\n%s",
        "größe 🛠",
    ];
    let marked = Marked::new();
    let tool = marked
        .sh(
            "printf '%s' \"$#\"; for a; do printf '<%s>' \"$a\"; done",
            &["{word}", "a{word}z{n}"],
        )
        .with_current_dir(&folder.0);
    for word in words {
        let output = respond(tool.clone(), json!({ "word": word, "n": 1.5 })).await?;
        assert_eq!(output.text(), format!("2<{word}><a{word}z1.5>"));
        assert_eq!(std::fs::read_dir(&folder.0)?.count(), 0, "{word} was run");
    }
    Ok(())
}

#[tokio::test]
async fn arguments_may_be_a_text_of_json() -> Result_ {
    let echo = CommandTool::new("echo", "echo").with_args(["{a}", "{b}", "{c}"])?;
    let args = json!(r#"{ "a": "x y", "b": -3, "c": false }"#);
    assert_eq!(respond(echo, args).await?.text(), "x y -3 false\n");
    let nothing = CommandTool::new("echo", "echo");
    for none in [json!(null), json!(""), json!({})] {
        assert_eq!(respond(nothing.clone(), none).await?.text(), "\n");
    }
    Ok(())
}

#[tokio::test]
async fn invalid_argument_is_named_and_no_program_starts() -> Result_ {
    // Its start would fail.
    let tool = CommandTool::new("t", "no-such-program").with_arg("--in={a}")?;
    let tool = tool.with_stdin("{b}")?;
    for (args, message) in [
        (json!({ "a": 1 }), "invalid arguments at `b`: missing"),
        (json!(null), "invalid arguments at `a`: missing"),
        (
            json!({ "a": "x\0", "b": 1 }),
            "invalid arguments at `a`: an argument of a program cannot contain NUL",
        ),
        (
            json!({ "a": 1, "b": [] }),
            "invalid arguments at `b`: an array, expected a string, a number or a boolean",
        ),
        (
            json!([1]),
            "invalid arguments at `.`: invalid type: sequence, expected a map",
        ),
    ] {
        let error = respond(tool.clone(), args).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidArguments, message)
        );
    }
    Ok(())
}

#[test]
fn malformed_template_is_rejected_by_its_setter() {
    let tool = CommandTool::new("t", "t");
    let rejected = tool.clone().with_args(["fine", "{pattern"]).unwrap_err();
    assert!(matches!(
        &rejected,
        ConfigError::MalformedTemplate { at: 0, .. }
    ));
    assert_eq!(
        rejected.to_string(),
        "the template `{pattern` is malformed at byte 0: \
         braces enclose the name of an argument, and a literal brace is doubled"
    );
    assert!(tool.clone().with_arg("awk '{print $1}'").is_err());
    assert!(tool.with_stdin("}").is_err());
}

/// More than the pipes hold, in both directions.
#[tokio::test]
async fn input_is_written_while_output_is_read() -> Result_ {
    let cat = CommandTool::new("cat", "cat").with_stdin("<{input}>")?;
    let input = "line of input\n".repeat(50_000);
    let output = respond(cat.clone(), json!({ "input": input })).await?;
    assert_eq!(output.text(), format!("<{input}>"));
    assert_eq!(
        respond(cat, json!({ "input": "a\0b" })).await?.text(),
        "<a\0b>"
    );
    Ok(())
}

#[tokio::test]
async fn input_is_empty_by_default() -> Result_ {
    assert_eq!(
        respond(CommandTool::new("cat", "cat"), json!({}))
            .await?
            .text(),
        ""
    );
    Ok(())
}

#[tokio::test]
async fn input_that_is_not_read_is_no_error() -> Result_ {
    let marked = Marked::new();
    let input = "x".repeat(1_000_000);
    for script in [
        "exec <&-; echo ok",
        "head -c 10 > /dev/null; exec <&-; sleep 0.1; echo ok",
        "echo ok",
    ] {
        let tool = marked.sh(script, &[]).with_stdin("{input}")?;
        let output = respond(tool, json!({ "input": input })).await?;
        assert_eq!(
            (output.text().as_str(), output.is_error()),
            ("ok\n", false),
            "{script}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn only_listed_variables_are_inherited() -> Result_ {
    let env = CommandTool::new("env", "env").with_env("LC_ALL", "C");
    assert!(std::env::vars_os().count() > 0);
    assert_eq!(respond(env.clone(), json!({})).await?.text(), "LC_ALL=C\n");
    let some = env
        .with_inherited_env(["PATH", "TOOLBOOTH_IS_NOT_SET"])
        .with_env("A", "1 {x}\n2");
    let output = respond(some.clone(), json!({})).await?.text();
    assert_eq!(
        output,
        format!("A=1 {{x}}\n2\nLC_ALL=C\nPATH={}\n", std::env::var("PATH")?)
    );
    let output = respond(some.with_env("PATH", "/nowhere"), json!({}))
        .await?
        .text();
    assert!(
        output.ends_with("PATH=/nowhere\n"),
        "the program is found in our PATH: {output}"
    );
    Ok(())
}

/// Case C6. Any of the variables of a locale that the user sets replaces the default.
#[tokio::test]
async fn locale_is_utf_8_unless_the_user_sets_one() -> Result_ {
    let sed = CommandTool::new("sed", "sed").with_arg("s/./x/g")?;
    let sed = sed.with_stdin("{text}")?;
    let one = respond(sed.clone(), json!({ "text": "é" })).await?;
    assert_eq!(one.text(), "x");
    let env = CommandTool::new("env", "env");
    let unset = env.clone().with_inherited_env(["TOOLBOOTH_IS_NOT_SET"]);
    assert_eq!(respond(unset, json!({})).await?.text(), "LANG=C.UTF-8\n");
    for variable in ["LC_ALL", "LC_CTYPE", "LANG"] {
        let sed = sed.clone().with_env(variable, "C");
        let two = respond(sed, json!({ "text": "é" })).await?;
        assert_eq!(two.text(), "xx", "{variable}");
        let env = env.clone().with_env(variable, "C");
        let output = respond(env, json!({})).await?.text();
        assert_eq!(output, format!("{variable}=C\n"));
    }
    Ok(())
}

/// Case D1. In arguments and in the input.
#[tokio::test]
async fn number_with_a_zero_fraction_is_an_integer_of_the_program() -> Result_ {
    let head = CommandTool::new("head", "head").with_args(["-n", "{n}"])?;
    let head = head.with_stdin("a\n{n}\nc\n")?;
    for (n, text) in [(json!(2.0), "a\n2\n"), (json!(1), "a\n")] {
        assert_eq!(respond(head.clone(), json!({ "n": n })).await?.text(), text);
    }
    let rejected = respond(head, json!({ "n": 30.5 })).await?;
    assert!(rejected.is_error(), "{rejected:?}");
    assert!(rejected.text().contains("30.5"), "{rejected:?}");
    Ok(())
}

/// Case C7. One argument, and all of them together. Input has no such bound.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn argument_that_is_too_long_is_invalid_and_names_the_bound() -> Result_ {
    let echo = CommandTool::new("echo", "echo").with_args(["-n", "{short}{text}"])?;
    let args = |length: usize| json!({ "short": "s", "text": "x".repeat(length) });
    let fits = respond(echo.clone(), args(131_070)).await?;
    assert_eq!(fits.text().len(), 131_071);
    for (length, bytes) in [(131_071, "131072"), (200_000, "200001")] {
        let error = respond(echo.clone(), args(length)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArguments);
        assert_eq!(
            error.to_string(),
            format!(
                "invalid arguments at `text`: too long: the program would get an argument of \
                 {bytes} bytes, and the maximum is 131071; longer values can be its input \
                 (`with_stdin`)"
            )
        );
    }

    // Each of them fits.
    let names: Vec<_> = (0..100).map(|n| format!("a{n}")).collect();
    let templates = names.iter().map(|name| format!("{{{name}}}"));
    let many = CommandTool::new("echo", "echo").with_args(templates)?;
    let values = names.iter().enumerate().map(|(n, name)| {
        let length = 131_000 - usize::from(n != 42);
        (name.clone(), "x".repeat(length).into())
    });
    let values = serde_json::Value::Object(values.collect());
    let error = respond(many, values).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("invalid arguments at `a42`: too long: all"),
        "{text}"
    );
    assert!(text.contains("with_stdin"), "{text}");

    let cat = CommandTool::new("cat", "cat").with_stdin("{text}")?;
    assert_eq!(respond(cat, args(200_000)).await?.text().len(), 200_000);
    Ok(())
}

#[tokio::test]
async fn program_runs_in_the_given_folder() -> Result_ {
    let folder = Folder::new("working");
    let pwd = CommandTool::new("pwd", "pwd");
    let here = respond(pwd.clone(), json!({})).await?.text();
    assert_eq!(here, format!("{}\n", std::env::current_dir()?.display()));
    let there = respond(pwd.with_current_dir(&folder.0), json!({}))
        .await?
        .text();
    assert_eq!(there, format!("{}\n", folder.0.display()));
    Ok(())
}

#[tokio::test]
async fn failure_to_start_a_program_is_an_error_of_the_tool() -> Result_ {
    let file = std::path::absolute("Cargo.toml")?;
    let pwd = CommandTool::new("pwd", "pwd").with_current_dir("/no/such/folder");
    for (tool, kind, message) in [
        (
            CommandTool::new("t", "no-such-program"),
            io::ErrorKind::NotFound,
            "no such program in PATH",
        ),
        (
            CommandTool::new("t", ""),
            io::ErrorKind::NotFound,
            "no such program in PATH",
        ),
        (
            CommandTool::new("t", "/no/such/program"),
            io::ErrorKind::NotFound,
            "No such file",
        ),
        (
            CommandTool::new("t", file),
            io::ErrorKind::PermissionDenied,
            "Permission denied",
        ),
        (
            pwd,
            io::ErrorKind::NotFound,
            "there is no folder `/no/such/folder`",
        ),
    ] {
        let error = respond(tool, json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome(), error.is_retryable()),
            (ErrorKind::Tool, Outcome::Failed, false)
        );
        let CommandError::NotStarted { source, .. } = command_error(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), kind, "{source}");
        assert!(source.to_string().contains(message), "{source}");
    }
    Ok(())
}

/// Case C7. A file that is open for writing cannot be executed, until it is closed.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn failure_to_start_is_retryable_if_a_retry_can_help() -> Result_ {
    use std::os::unix::fs::OpenOptionsExt;

    let folder = Folder::new("busy");
    let file = folder.file("program");
    std::fs::copy("/bin/true", &file)?;
    let writer = std::fs::OpenOptions::new()
        .write(true)
        .mode(0o755)
        .open(&file)?;
    let busy = CommandTool::new("t", &file);
    let error = respond(busy.clone(), json!({})).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let CommandError::NotStarted { source, .. } = command_error(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::ExecutableFileBusy);
    drop(writer);
    assert!(!respond(busy, json!({})).await?.is_error());
    Ok(())
}

/// Case C7. In a process of its own, whose files are all in use.
#[cfg(target_os = "linux")]
#[test]
fn start_without_a_free_file_descriptor_is_retryable() {
    const CHILD: &str = "TOOLBOOTH_TEST_WITHOUT_FILES";
    if std::env::var_os(CHILD).is_none() {
        let name = "input::start_without_a_free_file_descriptor_is_retryable";
        let me = std::env::current_exe().unwrap();
        let ended = std::process::Command::new("prlimit")
            .args(["--nofile=64:64", "--"])
            .arg(me)
            .args(["--exact", name])
            .env(CHILD, "1")
            .status();
        assert!(ended.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tool = CommandTool::new("true", "true");
        respond(tool.clone(), json!({})).await.unwrap();
        let open = || std::fs::File::open("/dev/null");
        let files: Vec<_> = std::iter::from_fn(|| open().ok()).collect();
        let error = respond(tool.clone(), json!({})).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Tool);
        drop(files);
        respond(tool, json!({})).await.unwrap();
    });
}
