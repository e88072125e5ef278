//! What a program is given: arguments, input, folder, environment.

use std::io;

use serde_json::json;
use toolbooth::{CommandError, CommandTool, ConfigError, ErrorKind, Outcome};

use super::{Folder, Marked, Result_, answer, command_error};

#[tokio::test]
async fn a_placeholder_is_one_argument_whatever_it_holds() -> Result_ {
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
        let told = answer(tool.clone(), json!({ "word": word, "n": 1.5 })).await?;
        assert_eq!(told.text(), format!("2<{word}><a{word}z1.5>"));
        assert_eq!(std::fs::read_dir(&folder.0)?.count(), 0, "{word} was run");
    }
    Ok(())
}

#[tokio::test]
async fn arguments_come_as_the_text_of_json_as_well() -> Result_ {
    let echo = CommandTool::new("echo", "echo").with_args(["{a}", "{b}", "{c}"])?;
    let args = json!(r#"{ "a": "x y", "b": -3, "c": false }"#);
    assert_eq!(answer(echo, args).await?.text(), "x y -3 false\n");
    let nothing = CommandTool::new("echo", "echo");
    for none in [json!(null), json!(""), json!({})] {
        assert_eq!(answer(nothing.clone(), none).await?.text(), "\n");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_argument_is_named_and_nothing_is_started() -> Result_ {
    // Were it started, it would be missing.
    let tool = CommandTool::new("t", "no-such-program").with_arg("--in={a}")?;
    let tool = tool.with_stdin("{b}")?;
    for (args, told) in [
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
        let error = answer(tool.clone(), args).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidArguments, told)
        );
    }
    Ok(())
}

#[test]
fn a_malformed_template_is_refused_where_it_is_given() {
    let tool = CommandTool::new("t", "t");
    let refused = tool.clone().with_args(["fine", "{pattern"]).unwrap_err();
    assert!(matches!(
        &refused,
        ConfigError::MalformedTemplate { at: 0, .. }
    ));
    assert_eq!(
        refused.to_string(),
        "the template `{pattern` is malformed at byte 0: braces stand around the name of an argument, and a brace that is meant as one is doubled"
    );
    assert!(tool.clone().with_arg("awk '{print $1}'").is_err());
    assert!(tool.with_stdin("}").is_err());
}

/// More than the pipes hold, both ways at once.
#[tokio::test]
async fn input_is_written_while_output_is_read() -> Result_ {
    let cat = CommandTool::new("cat", "cat").with_stdin("<{input}>")?;
    let input = "line of input\n".repeat(50_000);
    let told = answer(cat.clone(), json!({ "input": input })).await?;
    assert_eq!(told.text(), format!("<{input}>"));
    assert_eq!(
        answer(cat, json!({ "input": "a\0b" })).await?.text(),
        "<a\0b>"
    );
    Ok(())
}

#[tokio::test]
async fn without_an_input_there_is_nothing_to_read() -> Result_ {
    assert_eq!(
        answer(CommandTool::new("cat", "cat"), json!({}))
            .await?
            .text(),
        ""
    );
    Ok(())
}

#[tokio::test]
async fn an_input_that_is_not_read_is_no_error() -> Result_ {
    let marked = Marked::new();
    let input = "x".repeat(1_000_000);
    for script in [
        "exec <&-; echo ok",
        "head -c 10 > /dev/null; exec <&-; sleep 0.1; echo ok",
        "echo ok",
    ] {
        let tool = marked.sh(script, &[]).with_stdin("{input}")?;
        let told = answer(tool, json!({ "input": input })).await?;
        assert_eq!(
            (told.text().as_str(), told.is_error()),
            ("ok\n", false),
            "{script}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_inherited_unless_it_is_allowed() -> Result_ {
    let env = CommandTool::new("env", "env");
    assert!(std::env::vars_os().count() > 0);
    assert_eq!(answer(env.clone(), json!({})).await?.text(), "");
    let some = env
        .with_inherited_env(["PATH", "TOOLBOOTH_IS_NOT_SET"])
        .with_env("A", "1 {x}\n2");
    let told = answer(some.clone(), json!({})).await?.text();
    assert_eq!(
        told,
        format!("A=1 {{x}}\n2\nPATH={}\n", std::env::var("PATH")?)
    );
    let told = answer(some.with_env("PATH", "/nowhere"), json!({}))
        .await?
        .text();
    assert!(
        told.ends_with("PATH=/nowhere\n"),
        "the program is found in our PATH: {told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_program_works_in_the_folder_that_it_is_given() -> Result_ {
    let folder = Folder::new("working");
    let pwd = CommandTool::new("pwd", "pwd");
    let here = answer(pwd.clone(), json!({})).await?.text();
    assert_eq!(here, format!("{}\n", std::env::current_dir()?.display()));
    let there = answer(pwd.with_current_dir(&folder.0), json!({}))
        .await?
        .text();
    assert_eq!(there, format!("{}\n", folder.0.display()));
    Ok(())
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error_of_the_tool() -> Result_ {
    let file = std::path::absolute("Cargo.toml")?;
    let pwd = CommandTool::new("pwd", "pwd").with_current_dir("/no/such/folder");
    for (tool, kind, told) in [
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
        let error = answer(tool, json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Tool, Outcome::Failed)
        );
        let CommandError::NotStarted { source, .. } = command_error(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), kind, "{source}");
        assert!(source.to_string().contains(told), "{source}");
    }
    Ok(())
}
