//! Files that cannot be used: each error has the place of the fault, and what is allowed.

use toolbooth_gateway::config::{Config, ConfigError};

/// Returns the error of a text, with the variables of the environment of this test.
fn fault(text: &str) -> ConfigError {
    let variable = |name: &str| match name {
        "TOKEN" => Some("s3cret".to_owned()),
        "LINES" => Some("two\nlines".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    Config::from_toml_with(text, variable).expect_err(text)
}

/// Asserts that each text has this error.
fn assert_faults(faults: &[(&str, &str)]) {
    for (text, message) in faults {
        assert_eq!(fault(text).to_string(), *message, "{text}");
    }
}

const UPSTREAM: &str = "expected one of `command`, `env`, `inherit_env`, `current_dir`, `url`, \
    `bearer`, `headers`, `prefix`, `trust_annotations`, `connect_timeout`";

#[test]
fn unknown_key_is_an_error_with_those_that_are_allowed_and_the_nearest() {
    let of_server = format!(
        "line 2, column 1, in `upstreams.a.comand`: unknown field `comand`, {UPSTREAM}: \
         did you mean `command`?"
    );
    assert_faults(&[
        ("[upstreams.a]\ncomand = [\"a\"]", &of_server),
        (
            "[tool.a]\ncommand = [\"a\"]",
            "line 1, column 2, in `tool`: unknown field `tool`, expected one of `upstreams`, \
             `tools`, `policies`, `limits`, `listen`, `tenants`, `admin`, `log`, `shutdown`: \
             did you mean `tools`?",
        ),
        (
            "[shutdown]\ngrase = \"1s\"",
            "line 2, column 1, in `shutdown.grase`: unknown field `grase`, expected `grace` or \
             `limit`: did you mean `grace`?",
        ),
        (
            "[policies.default]\ntimeout = \"30\"",
            "line 2, column 11, in `policies.default.timeout`: invalid value: string \"30\", \
             expected a duration from 1ms to 365d, such as \"500ms\", \"30s\" or \"1h 30m\", or \
             \"none\"",
        ),
    ]);
}

#[test]
fn text_that_is_no_toml_is_an_error_at_its_place() {
    let error = fault("[upstreams.a]\ncommand = [\"a\"\nurl = 1");
    assert_eq!((error.line(), error.path()), (Some(3), ""));
    assert!(error.to_string().contains("this is no TOML"), "{error}");
    let long = "#".repeat((4 << 20) + 1);
    assert_eq!(
        fault(&long).to_string(),
        "the text has 4194305 bytes, and 4194304 are allowed"
    );
}

#[test]
fn server_has_either_a_command_or_a_url_and_the_keys_of_that() {
    assert_faults(&[
        (
            "[upstreams.a]\nprefix = \"a_\"",
            "line 1, column 12, in `upstreams.a.command`: a server has a `command` such as \
             [\"npx\", \"-y\", \"a-server\"], or a `url` such as \"https://example.com/mcp\"",
        ),
        (
            "[upstreams.a]\ncommand = [\"a\"]\nurl = \"http://a\"",
            "line 3, column 1, in `upstreams.a.url`: a server has either a `command` or a `url`",
        ),
        (
            "[upstreams.a]\ncommand = [\"a\"]\nbearer = \"b\"",
            "line 3, column 1, in `upstreams.a.bearer`: only a server with a `url` has it",
        ),
        (
            "[upstreams.a]\nurl = \"http://a\"\nenv = { A = \"b\" }",
            "line 3, column 1, in `upstreams.a.env`: only a server with a `command` has it",
        ),
        (
            "[upstreams.a]\ncommand = []",
            "line 2, column 1, in `upstreams.a.command`: it begins with a program",
        ),
        (
            "[upstreams.a]\nurl = \"ftp://a/b\"",
            "line 2, column 1, in `upstreams.a.url`: an address such as \
             \"https://example.com/mcp\" is expected",
        ),
        (
            "[upstreams.a]\nurl = \"http://a\"\nheaders = { \"a b\" = \"c\" }",
            "line 3, column 13, in `upstreams.a.headers.a b`: this cannot be a header of a request",
        ),
        (
            "[upstreams.a]\ncommand = [\"a\"]\nconnect_timeout = \"none\"",
            "line 3, column 1, in `upstreams.a.connect_timeout`: it cannot be \"none\"",
        ),
    ]);
}

#[test]
fn variable_that_is_missing_or_cannot_be_used_is_an_error_at_its_place() {
    assert_faults(&[
        (
            "[upstreams.a]\ncommand = [\"a\"]\n[upstreams.a.env]\nTOKEN = \"${TOKEN}\"\nKEY = \
             \"${GONE}\"",
            "line 5, column 1, in `upstreams.a.env.KEY`: the environment variable `GONE` is not \
             set",
        ),
        (
            "[upstreams.a]\ncommand = [\n  \"a\",\n  \"--key\",\n  \"${GONE}\",\n]",
            "line 5, column 3, in `upstreams.a.command[2]`: the environment variable `GONE` is \
             not set",
        ),
        (
            "[upstreams.a]\nurl = \"http://a\"\nbearer = \"${TOKEN\"",
            "line 3, column 1, in `upstreams.a.bearer`: `${` begins a variable such as `${HOME}`, \
             of letters, digits and `_`; write `$${` for these characters",
        ),
        (
            "[upstreams.a]\nurl = \"http://a\"\nbearer = \"${EMPTY}\"",
            "line 3, column 1, in `upstreams.a.bearer`: a token is not empty, and has visible \
             characters only",
        ),
        (
            "[upstreams.a]\nurl = \"http://a\"\nbearer = \"${LINES}\"",
            "line 3, column 1, in `upstreams.a.bearer`: a token is not empty, and has visible \
             characters only",
        ),
    ]);
}

#[test]
fn several_servers_have_prefixes_of_which_none_begins_with_another() {
    let servers = |a: &str, b: &str| {
        format!(
            "[upstreams.a]\ncommand = [\"a\"]\nprefix = \"{a}\"\n\
             [upstreams.b]\ncommand = [\"b\"]\nprefix = \"{b}\""
        )
    };
    let config = Config::from_toml(&servers("a_", "b_")).unwrap();
    assert_eq!(config.upstreams["b"].prefix, "b_");
    assert_faults(&[
        (
            "[upstreams.a]\ncommand = [\"a\"]\n[upstreams.b]\ncommand = [\"b\"]",
            "line 1, column 12, in `upstreams.a.prefix`: with several servers each has a prefix \
             of its own, so that none can take the name of another's tool: add `prefix = \"a_\"`",
        ),
        (
            &servers("a_", "a_b_"),
            "line 3, column 1, in `upstreams.a.prefix`: `a_` is a start of the prefix of `b`: \
             each server has a prefix of its own",
        ),
        (
            &servers("a_", "a_"),
            "line 3, column 1, in `upstreams.a.prefix`: `a_` is a start of the prefix of `b`: \
             each server has a prefix of its own",
        ),
        (
            "[upstreams.a]\ncommand = [\"a\"]\nprefix = \"a b\"",
            "line 3, column 1, in `upstreams.a.prefix`: a name has 1 to 128 characters: letters, \
             digits, `_`, `-`, `.` and `/`",
        ),
    ]);
}

#[test]
fn command_of_a_tool_is_checked_with_its_arguments() {
    assert_faults(&[
        (
            "[tools.a]\ncommand = [\"{program}\"]",
            "line 2, column 12, in `tools.a.command[0]`: it begins with a program, which a call \
             cannot choose",
        ),
        (
            "[tools.a]\ncommand = [\"a\", \"{b\"]",
            "line 2, column 17, in `tools.a.command[1]`: a brace begins a placeholder such as \
             `{path}`; write `{{` and `}}` for braces",
        ),
        (
            "[tools.a]\ncommand = [\"a\", \"{b}\"]\ninput = { c = {} }",
            "line 3, column 1, in `tools.a.input`: the command uses `{b}`, which is not described \
             here",
        ),
        (
            "[tools.a]\ncommand = [\"a\"]\nstdin = \"{b}\"\ninput = { b = { optional = true } }",
            "line 3, column 1, in `tools.a.stdin`: `b` is optional, and an input cannot be left \
             out",
        ),
        (
            "[tools.a]\ncommand = [\"a\"]\ninput = { b = 1 }",
            "line 3, column 11, in `tools.a.input.b`: an argument is described by a table such as \
             { type = \"string\" }",
        ),
        (
            "[tools.a]\ncommand = [\"a\"]\ninput = {}\ninput_schema = {}",
            "line 4, column 1, in `tools.a.input_schema`: a tool has either `input` or \
             `input_schema`",
        ),
        (
            "[tools.\"a b\"]\ncommand = [\"a\"]",
            "line 1, column 8, in `tools.a b`: a name has 1 to 128 characters: letters, digits, \
             `_`, `-`, `.` and `/`",
        ),
    ]);
    let error = fault("[tools.a]\ncommand = [\"a\"]\ninput = { b = { type = \"sting\" } }");
    assert_eq!((error.line(), error.path()), (Some(3), "tools.a.input"));
    assert!(error.to_string().contains("\"sting\""), "{error}");
}

#[test]
fn address_that_is_reachable_from_elsewhere_needs_a_token() {
    let tool = "[tools.a]\ncommand = [\"a\"]\n";
    let hash = "0".repeat(64);
    let open = format!("{tool}[listen]\nhttp = \"0.0.0.0:80\"");
    let admin = format!("{tool}[admin]\nlisten = \"[::]:81\"");
    let same =
        format!("{tool}[listen]\nhttp = \"127.0.0.1:80\"\n[admin]\nlisten = \"127.0.0.1:80\"");
    let tokens = format!(
        "{tool}[tenants.a]\ntoken_sha256 = \"{hash}\"\n[tenants.b]\ntoken_sha256 = \"{hash}\""
    );
    let none = format!("{tool}[listen]\nstdio = false");
    assert_faults(&[
        (
            &open,
            "line 4, column 1, in `listen.http`: 0.0.0.0:80 is reachable from other machines, so \
             clients need tokens: add [tenants.NAME] with the line that `toolbooth token` prints, \
             or listen on 127.0.0.1",
        ),
        (
            &admin,
            "line 4, column 1, in `admin.listen`: [::]:81 is reachable from other machines, so it \
             needs a token: add `token_sha256` with the value that `toolbooth token` prints, or \
             listen on 127.0.0.1",
        ),
        (
            &same,
            "line 6, column 1, in `admin.listen`: it is the address of [listen], too",
        ),
        (
            &tokens,
            "line 6, column 1, in `tenants.b.token_sha256`: it is the token of `a`, too",
        ),
        (
            &none,
            "line 4, column 1, in `listen.stdio`: there is no listener: set it to true, or add \
             `http`",
        ),
        (
            "",
            "there is no tool: add a server such as [upstreams.time], or a command such as \
             [tools.disk_usage]",
        ),
    ]);
    let with_tenant = format!("{open}\n[tenants.a]\ntoken_sha256 = \"{hash}\"");
    assert!(Config::from_toml(&with_tenant).is_ok());
}

#[test]
fn policies_may_name_tools_that_come_later_but_not_one_tool_in_two_groups() {
    let groups = |b: &str| {
        format!(
            "[upstreams.a]\ncommand = [\"a\"]\n[policies.tools.later]\nretry = 2\n\
             [policies.groups.one]\ntools = [\"x_*\", \"x_1\"]\n\
             [policies.groups.two]\ntools = [\"{b}\"]"
        )
    };
    assert!(Config::from_toml(&groups("x_1*")).is_ok());
    assert_faults(&[(
        &groups("x_1"),
        "line 8, column 10, in `policies.groups.two.tools[0]`: `x_1` is in the group `one`: a \
         tool is in one group",
    )]);
}

#[test]
fn command_that_is_a_text_and_address_without_a_port_are_errors_with_an_example() {
    assert_faults(&[
        (
            "[tools.a]\ncommand = \"du -sh\"",
            "line 2, column 11, in `tools.a.command`: invalid type: string, expected a list of a \
             program and its arguments, such as [\"du\", \"-sh\"]",
        ),
        (
            "[upstreams.a]\ncommand = \"npx a\"",
            "line 2, column 11, in `upstreams.a.command`: invalid type: string, expected a list of \
             a program and its arguments, such as [\"du\", \"-sh\"]",
        ),
        (
            "[listen]\nhttp = \"localhost:8808\"",
            "line 2, column 8, in `listen.http`: invalid value: string, expected an IP address and \
             a port, such as \"127.0.0.1:8808\"",
        ),
        (
            "[admin]\nlisten = 8809",
            "line 2, column 10, in `admin.listen`: invalid type: integer, expected an IP address \
             and a port, such as \"127.0.0.1:8808\"",
        ),
    ]);
}

#[test]
fn policy_of_a_tool_that_can_never_be_there_is_an_error() {
    let with = |policies: &str| {
        format!(
            "[tools.greet]\ncommand = [\"echo\"]\n[upstreams.a]\ncommand = [\"a\"]\n\
             prefix = \"a_\"\n{policies}"
        )
    };
    let wrong = with("[policies.tools.gret]\ntimeout = \"1s\"");
    let in_group = with("[policies.groups.g]\ntools = [\"a_*\", \"b_*\"]");
    assert_faults(&[
        (
            &wrong,
            "line 6, column 17, in `policies.tools.gret`: there is no tool `gret`: no command has \
             this name, and no server a prefix of it",
        ),
        (
            &in_group,
            "line 7, column 17, in `policies.groups.g.tools[1]`: there is no tool `b_*`: no \
             command has this name, and no server a prefix of it",
        ),
    ]);
    for policies in [
        "[policies.tools.greet]\ntimeout = \"1s\"",
        "[policies.tools.a_later]\ntimeout = \"1s\"",
        "[policies.groups.g]\ntools = [\"*\"]",
        "[policies.groups.g]\ntools = [\"gr*\", \"a*\", \"a_b*\"]",
    ] {
        Config::from_toml(&with(policies)).expect(policies);
    }
}
