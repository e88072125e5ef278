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
    let env = CommandTool::new("env", "env");
    assert!(std::env::vars_os().count() > 0);
    assert_eq!(respond(env.clone(), json!({})).await?.text(), "");
    let some = env
        .with_inherited_env(["PATH", "TOOLBOOTH_IS_NOT_SET"])
        .with_env("A", "1 {x}\n2");
    let output = respond(some.clone(), json!({})).await?.text();
    assert_eq!(
        output,
        format!("A=1 {{x}}\n2\nPATH={}\n", std::env::var("PATH")?)
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
            (error.kind(), error.outcome()),
            (ErrorKind::Tool, Outcome::Failed)
        );
        let CommandError::NotStarted { source, .. } = command_error(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), kind, "{source}");
        assert!(source.to_string().contains(message), "{source}");
    }
    Ok(())
}
