//! Commands as tools: what a call can and cannot do to the command line.

use serde_json::{Value, json};
use toolbooth::{ToolCall, ToolError};
use toolbooth_gateway::booth::Booth;
use toolbooth_gateway::config::Config;
use tower::ServiceExt;

/// Calls the tool `t` of a file, which prints its arguments.
async fn call(text: &str, arguments: Value) -> Result<String, ToolError> {
    let variable = |name: &str| (name == "BRACES").then(|| "{x}".to_owned());
    let config = Config::from_toml_with(text, variable).expect("the file is correct");
    let booth = Booth::open(config).await.expect("the booth opens");
    let output = booth
        .toolbox()
        .oneshot(ToolCall::new("t", arguments))
        .await?;
    Ok(output.collect().await?.text())
}

fn shows(args: &str, more: &str) -> String {
    format!("[tools.t]\ncommand = [\"printf\", \"[%s]\", {args}]\n{more}")
}

#[tokio::test]
async fn value_stays_within_one_argument() {
    let text = shows("\"{a}\", \"x={a}\"", "");
    let value = "b c; rm -rf $HOME `id` {a} \"'";
    let shown = call(&text, json!({ "a": value })).await.unwrap();
    assert_eq!(shown, format!("[{value}][x={value}]"));
}

#[tokio::test]
async fn value_cannot_become_an_option_unless_options_have_ended() {
    let text = shows("\"{a}\"", "");
    for value in ["-v", "--", "-"] {
        let error = call(&text, json!({ "a": value })).await.unwrap_err();
        assert_eq!(
            error.public_message(),
            "invalid arguments at `a`: it begins with `-`, so that the program may read it as an \
             option"
        );
        assert!(!error.started());
    }
    let text = shows("\"--\", \"{a}\"", "");
    assert_eq!(call(&text, json!({ "a": "-v" })).await.unwrap(), "[--][-v]");
    let text = shows("\"--a={a}\"", "");
    assert_eq!(call(&text, json!({ "a": "-v" })).await.unwrap(), "[--a=-v]");
}

#[tokio::test]
async fn optional_arguments_are_left_out_together() {
    let text = shows(
        "[\"--depth\", \"{depth}\"], \"{flag}\", \"{path}\"",
        "[tools.t.input]\npath = {}\nflag = { optional = true }\n\
         depth = { type = \"integer\", optional = true }",
    );
    for (arguments, shown) in [
        (json!({ "path": "p" }), "[p]"),
        (json!({ "path": "p", "depth": 2 }), "[--depth][2][p]"),
        (
            json!({ "path": "p", "flag": "f", "depth": 3 }),
            "[--depth][3][f][p]",
        ),
    ] {
        assert_eq!(call(&text, arguments).await.unwrap(), shown);
    }
}

#[tokio::test]
async fn default_is_filled_in() {
    let text = shows(
        "\"{n}\"",
        "input = { n = { type = \"integer\", default = 7 } }",
    );
    assert_eq!(call(&text, json!({})).await.unwrap(), "[7]");
    assert_eq!(call(&text, json!({ "n": 8 })).await.unwrap(), "[8]");
}

#[tokio::test]
async fn arguments_that_do_not_match_the_schema_are_rejected() {
    let text = shows(
        "\"{n}\"",
        "input = { n = { type = \"integer\", minimum = 1 } }",
    );
    for (arguments, message) in [
        (
            json!({ "n": 0 }),
            "invalid arguments at `n`: value is less than the minimum of 1",
        ),
        (
            json!({}),
            "invalid arguments at `.`: \"n\" is a required property",
        ),
    ] {
        let error = call(&text, arguments).await.unwrap_err();
        assert_eq!(error.public_message(), message);
        assert!(!error.started());
    }
    assert!(call(&text, json!({ "n": 1, "more": 2 })).await.is_err());
}

#[tokio::test]
async fn program_has_the_variables_that_the_file_passes_and_no_others() {
    let text = "\
[tools.t]
command = [\"sh\", \"-c\", \"echo $KEY,$CARGO_MANIFEST_DIR\"]
env = { KEY = \"value\" }
";
    // cargo sets the second one for this test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert_eq!(call(text, json!({})).await.unwrap(), "value,\n");
    let inherits = format!("{text}inherit_env = [\"CARGO_MANIFEST_DIR\"]");
    let shown = call(&inherits, json!({})).await.unwrap();
    assert_eq!(shown, format!("value,{}\n", env!("CARGO_MANIFEST_DIR")));
}

#[tokio::test]
async fn braces_of_a_variable_are_no_placeholder() {
    let text = shows("\"${BRACES}{a}\"", "");
    assert_eq!(call(&text, json!({ "a": "b" })).await.unwrap(), "[{x}b]");
}
