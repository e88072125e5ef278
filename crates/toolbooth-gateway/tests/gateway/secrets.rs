//! No secret of the file or of the environment is in an error, in `Debug`, or in an output.

use toolbooth_gateway::config::Config;

use crate::program::{Folder, Ran};

const SECRET: &str = "s3cr3t-9f2a";

/// Files with the secret in each place that may have one, with another fault.
const FAULTS: [&str; 12] = [
    "upstreams = \"SECRET\"",
    "[upstreams.a]\ncommand = \"SECRET\"",
    "[upstreams.a]\ncommand = [\"a\", { b = \"SECRET\" }]",
    "[upstreams.a]\ncommand = [\"a\"]\nenv = \"KEY=SECRET\"",
    "[upstreams.a]\ncommand = [\"a\"]\nenv = [\"KEY=SECRET\"]",
    "[upstreams.a]\nurl = \"https://user:SECRET@\"",
    "[upstreams.a]\nurl = [\"https://user:SECRET@example.com\"]",
    "[upstreams.a]\nurl = \"http://a\"\nbearer = \"SECRET\\n\"",
    "[upstreams.a]\nurl = \"http://a\"\nbearer = { token = \"SECRET\" }",
    "[upstreams.a]\nurl = \"http://a\"\nheaders = { \"a b\" = \"SECRET\" }",
    "[tools.a]\ncommand = [\"a\", \"--key=SECRET{\"]",
    "[tools.a]\ncommand = [\"a\"]\n[tenants.a]\ntoken_sha256 = \"SECRET\"",
];

#[test]
fn error_of_a_file_does_not_quote_its_secrets() {
    for text in FAULTS {
        let text = text.replace("SECRET", SECRET);
        let error = Config::from_toml(&text).expect_err(&text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET), "{text}: {shown}");
    }
}

#[test]
fn variable_within_a_placeholder_is_not_quoted() {
    let text = "[tools.a]\ncommand = [\"a\", \"{n${KEY}}\"]\ninput = {}";
    let error = Config::from_toml_with(text, |_| Some(SECRET.to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3, column 1, in `tools.a.input`: the command uses a placeholder with a variable, \
         which is not described here"
    );
}

#[test]
fn debug_of_the_settings_shows_no_secret() {
    let text = format!(
        r#"
        [upstreams.a]
        command = ["a", "--key={SECRET}"]
        env = {{ KEY = "{SECRET}" }}
        prefix = "a_"
        [upstreams.b]
        url = "https://user:{SECRET}@example.com/{SECRET}"
        bearer = "{SECRET}"
        headers = {{ X-Key = "{SECRET}" }}
        prefix = "b_"
        [tools.c]
        command = ["c", "{SECRET}"]
        env = {{ KEY = "${{KEY}}" }}
        stdin = "{SECRET}"
        [tenants.d]
        token_sha256 = "{hash}"
        "#,
        hash = toolbooth_gateway::config::TokenHash::of(SECRET),
    );
    let config = Config::from_toml_with(&text, |_| Some(SECRET.to_owned())).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let hash = toolbooth_gateway::config::TokenHash::of(SECRET).to_string();
    assert!(!shown.contains(&hash), "{shown}");
}

#[test]
fn output_of_check_and_of_a_failed_call_shows_no_secret() {
    let folder = Folder::with(
        r#"
        [upstreams.a]
        command = ["/missing/a", "--key=${KEY}"]
        env = { KEY = "${KEY}" }
        prefix = "a_"
        [upstreams.b]
        url = "http://user:${KEY}@127.0.0.1:1/${KEY}"
        bearer = "${KEY}"
        headers = { X-Key = "${KEY}" }
        prefix = "b_"
        [tools.c]
        command = ["/missing/c", "${KEY}"]
        "#,
    );
    let run = |args: &[&str]| {
        let mut command = folder.command(args);
        Ran::from(command.env("KEY", SECRET).output().unwrap())
    };
    for (args, code) in [
        (&["check"][..], 0),
        (&["check", "--connect"], 3),
        (&["call", "a_x"], 3),
        (&["call", "b_x"], 3),
        (&["call", "c"], 1),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            !ran.out.contains(SECRET) && !ran.err.contains(SECRET),
            "{ran:?}"
        );
    }
}
