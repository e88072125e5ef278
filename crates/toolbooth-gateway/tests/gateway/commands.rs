//! Each command, and its exit code.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{Folder, Ran};

const GREET: &str = "\
[tools.greet]
command = [\"echo\", \"hello\", \"{name}\"]

[tools.fail]
command = [\"sh\", \"-c\", \"echo broken >&2; exit 3\"]

[tools.lines]
command = [\"sh\", \"-c\", \"echo one; echo two; sleep 60\"]
output = \"lines\"

[tools.hang]
command = [\"sh\", \"-c\", \"echo begun; sleep 60\"]

[policies.default]
timeout = \"1m\"
partial = 10

[policies.tools.hang]
timeout = \"300ms\"

[policies.tools.lines]
timeout = \"300ms\"
";

fn ok(out: &str) -> Ran {
    Ran {
        code: Some(0),
        out: out.to_owned(),
        err: String::new(),
    }
}

#[test]
fn init_writes_a_file_that_is_correct_and_overwrites_none() {
    let folder = Folder::new();
    let init = folder.run(&["init"]);
    let next = "booth.toml is written. Next:\n  \
        toolbooth check booth.toml\n  \
        toolbooth call disk_usage '{\"path\": \".\"}' --config booth.toml\n  \
        toolbooth run booth.toml\n";
    assert_eq!(init, ok(next));

    let check = folder.run(&["check"]);
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""));
    assert!(
        check.out.starts_with("booth.toml is correct.\n"),
        "{}",
        check.out
    );
    let call = folder.run(&["call", "disk_usage", "{\"path\": \".\"}", "-q"]);
    assert_eq!((call.code, call.err.as_str()), (Some(0), ""));
    assert!(call.out.ends_with("\t.\n"), "{}", call.out);

    std::fs::write(folder.path().join("booth.toml"), "mine").unwrap();
    let again = folder.run(&["init"]);
    assert_eq!(again.code, Some(3));
    assert_eq!(
        again.err,
        "error: booth.toml exists already, and is not overwritten: name another file, or `-` to \
         print it\n"
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("booth.toml")).unwrap(),
        "mine"
    );
}

#[test]
fn every_line_of_the_file_of_init_can_be_used() {
    let printed = Folder::new().run(&["init", "-"]).out;
    // A comment that is a line of TOML begins with a key or a table right after `# `.
    let is_setting = |line: &str| {
        let key = line.split([' ', '=']).next().unwrap_or_default();
        let has_key = key.contains(|c: char| c.is_ascii_lowercase())
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_256".contains(c));
        line.starts_with('[') || has_key && line.contains(" = ")
    };
    let mut settings = 0;
    let uncommented: Vec<_> = printed
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_setting(setting) => {
                settings += 1;
                setting.replace("\"...\"", &format!("\"{settings:064x}\""))
            }
            _ => line.to_owned(),
        })
        .collect();
    assert!(settings > 45, "{settings}");
    let folder = Folder::with(&uncommented.join("\n"));
    let mut check = folder.command(&["check"]);
    let check = Ran::from(check.env("SEARCH_TOKEN", "secret").output().unwrap());
    assert_eq!(
        (check.code, check.err.as_str()),
        (Some(0), ""),
        "{}",
        uncommented.join("\n")
    );
    assert!(!check.out.contains("secret"));
}

#[test]
fn check_draws_the_stack_of_each_tool_and_of_names_that_are_not_known_yet() {
    let folder = Folder::with(
        r#"
        [upstreams.time]
        command = ["uvx", "mcp-server-time"]
        prefix = "time_"

        [upstreams.search]
        url = "https://user:password@example.com:8443/mcp?key=secret"
        prefix = "search_"

        [tools.greet]
        command = ["echo", "hello", "{name}"]

        [policies.default]
        timeout = "30s"

        [policies.groups.time]
        tools = ["time_*"]
        concurrency = 1

        [policies.tools.time_convert]
        retry = 3

        [listen]
        http = "127.0.0.1:8808"

        [tenants.alice]
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

        [admin]
        listen = "127.0.0.1:8809"
        "#,
    );
    let expected = "\
booth.toml is correct.
listen: MCP at http://127.0.0.1:8808/mcp
listen: HTTP API at http://127.0.0.1:8808/tools
tenant alice: 1 token
admin: http://127.0.0.1:8809
server search: https://example.com:8443
server time: uvx, 1 argument
command greet: echo
tools of servers: shown with --connect

greet, group commands
└ timeout 30s
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 4, queue 256, tenants in turns (group commands)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool

search_*, group search
└ timeout 30s
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 4, queue 256, tenants in turns (group search)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool

time_*, group time
└ timeout 30s
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 1, queue 1024 (group time)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool

time_convert, group time
└ timeout 30s
  └ retry 3 attempts, backoff 100ms to 10s, budget 0.2
    └ breaker 5 failures in a row, open 30s (tool)
      └ concurrency 1, queue 1024 (group time)
        └ timeout of an attempt idle 1m
          └ partial results first 1024 items, 1048576 bytes
            └ tool
";
    assert_eq!(folder.run(&["check"]), ok(expected));
}

#[test]
fn check_of_a_command_draws_the_limits_that_it_has_without_a_file() {
    let expected = "\
listen: MCP over standard input and output
server server: uvx, 1 argument
tools of servers: shown with --connect

*, group server
└ timeout 2m
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 4, queue 256, tenants in turns (group server)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool
";
    let checked = Folder::new().run(&["check", "--", "uvx", "mcp-server-time"]);
    assert_eq!(checked, ok(expected));
}

/// The stack of each tool of a file, without the lines before.
fn stacks(file: &str) -> String {
    let check = Folder::with(file).run(&["check"]);
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""));
    let (_, stacks) = check.out.split_once("\n\n").expect("stacks");
    stacks.to_owned()
}

#[test]
fn file_without_policies_has_the_limits_of_a_command() {
    let command = Folder::new().run(&["check", "--", "uvx", "mcp-server-time"]);
    let (_, of_command) = command.out.split_once("\n\n").unwrap();
    let server = "[upstreams.server]\ncommand = ['uvx', 'mcp-server-time']\n";
    assert_eq!(stacks(server), of_command);

    let of_tool = "\
greet, group commands
└ timeout 2m
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 4, queue 256, tenants in turns (group commands)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool
";
    assert_eq!(stacks("[tools.greet]\ncommand = ['echo']\n"), of_tool);
}

#[test]
fn setting_of_a_file_replaces_the_default_of_this_setting_alone() {
    let servers = "[upstreams.a]\ncommand = ['a']\nprefix = 'a_'\n\
        [upstreams.b]\ncommand = ['b']\nprefix = 'b_'\n[tools.greet]\ncommand = ['echo']\n";
    // The lines that are not those of the other tests, by tool.
    let limits = |file: &str| {
        let others = [
            "breaker 5 failures in a row, open 30s (tool)",
            "timeout of an attempt idle 1m",
            "tool",
        ];
        let all = stacks(&format!("{servers}{file}"));
        let tools = all.split("\n\n").map(|tool| {
            let lines = tool.lines().map(|line| line.trim_start_matches([' ', '└']));
            let lines: Vec<_> = lines.filter(|line| !others.contains(line)).collect();
            lines.join("; ")
        });
        tools.collect::<Vec<_>>()
    };
    let partial = "partial results first 1024 items, 1048576 bytes";
    let four = "concurrency 4, queue 256, tenants in turns";

    // Settings of all tools, and a group for all tools of a server.
    let given = limits(
        "[policies.default]\ntimeout = '5s'\npartial = 'none'\n\
         [policies.groups.one]\ntools = ['a_*', 'greet']\nconcurrency = 1\n",
    );
    let of_b = format!("b_*, group b; timeout 5s; {four} (group b)");
    assert_eq!(
        given,
        [
            "a_*, group one; greet, group one; timeout 5s; concurrency 1, queue 1024 (group one)",
            &of_b,
        ]
    );

    // A group of the name of a server; and one of some tools, beside that of their server.
    let given = limits(
        "[policies.groups.a]\ntools = ['a_x']\n[policies.groups.some]\ntools = ['b_x*']\n\
         [policies.groups.commands]\ntools = ['greet']\n",
    );
    let expected = [
        format!(
            "a_*; a_x, group a; b_x*, group some; greet, group commands; timeout 2m; {partial}"
        ),
        format!("b_*, group b; timeout 2m; {four} (group b); {partial}"),
    ];
    assert_eq!(given, expected);

    // With a limit for each tool there is none for a server.
    let given = limits("[policies.default]\nconcurrency = 2\nqueue = 7\n");
    let own = "concurrency 2, queue 7 (tool)";
    assert_eq!(
        given,
        [format!("a_*; b_*; greet; timeout 2m; {own}; {partial}")]
    );

    // A queue of the file is that of the default limits, too.
    let given = limits("[policies.default]\nqueue = 7\n");
    let expected = [("a_*", "a"), ("b_*", "b"), ("greet", "commands")].map(|(tool, group)| {
        format!(
            "{tool}, group {group}; timeout 2m; concurrency 4, queue 7 (group {group}); {partial}"
        )
    });
    assert_eq!(given, expected);
}

#[test]
fn call_prints_the_result_and_exits_with_its_outcome() {
    let folder = Folder::with(GREET);
    let greet = folder.run(&["call", "greet", "{\"name\": \"Ada\"}", "--quiet"]);
    assert_eq!(greet, ok("hello Ada\n"));
    let shown = folder.run(&["call", "greet", "{\"name\": \"Ada\"}"]);
    assert_eq!(
        (shown.out.as_str(), shown.err.as_str()),
        ("hello Ada\n", "… hello Ada\n")
    );

    let fail = folder.run(&["call", "fail"]);
    assert_eq!((fail.code, fail.err.as_str()), (Some(1), ""));
    assert!(fail.out.contains("broken"), "{}", fail.out);

    let unknown = folder.run(&["call", "gret"]);
    let message = "error: there is no tool named `gret`, did you mean `greet`?\n  \
        tip: `toolbooth check --connect` shows all tools\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(1), message));

    for (arguments, message) in [
        (
            "{",
            "error: the arguments are no JSON: EOF while parsing an object at line 1 column 1\n",
        ),
        (
            "[1]",
            "error: the arguments are an object of JSON, such as '{\"path\": \".\"}'\n",
        ),
    ] {
        let wrong = folder.run(&["call", "greet", arguments]);
        assert_eq!((wrong.code, wrong.err.as_str()), (Some(2), message));
    }
    let missing = folder.run(&["call", "greet"]);
    let message = "error: invalid arguments at `.`: \"name\" is a required property\n";
    assert_eq!((missing.code, missing.err.as_str()), (Some(1), message));
}

#[test]
fn call_that_ends_early_prints_its_partial_result_and_what_happened() {
    let folder = Folder::with(GREET);
    let hang = folder.run(&["call", "hang"]);
    assert_eq!((hang.code, hang.out.as_str()), (Some(1), "begun\n"));
    assert!(
        hang.err.starts_with("… begun\nerror: timed out after "),
        "{}",
        hang.err
    );

    // Each item is printed once, when it comes, and so is the output of a program on a terminal.
    let on_terminal = |tool: &str, args: &str| folder.run_on_terminal(&["call", tool, args]);
    assert_eq!(on_terminal("greet", "{\"name\": \"Ada\"}"), "hello Ada\r\n");
    let shown = on_terminal("hang", "{}");
    assert!(
        shown.starts_with("begun\r\nerror: timed out after "),
        "{shown}"
    );
    let lines = folder.run(&["call", "lines"]);
    assert_eq!((lines.code, lines.out.as_str()), (Some(1), "one\ntwo\n"));

    // A limit of the command line is shorter.
    let hang = folder.run(&["call", "hang", "--timeout", "50ms", "--json"]);
    let report: Value = serde_json::from_str(&hang.out).unwrap();
    assert_eq!((hang.code, &report["kind"]), (Some(1), &json!("timeout")));
    assert_eq!(report["started"], json!(true));

    // Without a policy, too. One of a policy that is shorter remains.
    let folder = Folder::with("[tools.hang]\ncommand = ['sleep', '1000']");
    let hang = folder.run(&["call", "hang", "-t", "50ms"]);
    assert_eq!((hang.code, hang.out.as_str()), (Some(1), ""));
    assert!(
        hang.err.contains("total limit of 50ms of `--timeout`"),
        "{}",
        hang.err
    );
    let policy = "[policies.default]\ntimeout = '50ms'\n";
    let file = format!("[tools.hang]\ncommand = ['sleep', '1000']\n{policy}");
    let hang = Folder::with(&file).run(&["call", "hang", "-t", "1h"]);
    assert!(hang.err.contains("total limit of 50ms"), "{}", hang.err);
}

#[test]
fn call_reads_arguments_from_its_input_and_prints_json() {
    let folder = Folder::with(GREET);
    let mut child = folder
        .command(&["call", "greet", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"name\": \"Ada\"}").unwrap();
    drop(input);
    let ran = Ran::from(child.wait_with_output().unwrap());
    let result: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        result["contents"],
        json!([{ "type": "text", "text": "hello Ada\n" }])
    );
}

#[test]
fn token_prints_a_token_and_the_table_of_its_hash() {
    let folder = Folder::new();
    let first = folder.run(&["token", "alice"]);
    let second = folder.run(&["token", "alice"]);
    assert_ne!(first.out, second.out);
    let table = format!("{GREET}{}", first.out);
    let checked = Folder::with(&table).run(&["check"]);
    assert!(
        checked.out.contains("tenant alice: 1 token\n"),
        "{}",
        checked.out
    );

    let token = first
        .out
        .lines()
        .find_map(|line| line.strip_prefix("# tbk_"))
        .unwrap();
    let hash = toolbooth_gateway::config::TokenHash::of(&format!("tbk_{token}"));
    assert!(first.out.ends_with(&format!("token_sha256 = \"{hash}\"\n")));
    assert_eq!(token.len(), 64);

    assert!(
        folder
            .run(&["token", "a.b"])
            .out
            .contains("[tenants.\"a.b\"]\n")
    );
    assert_eq!(folder.run(&["token", "a b"]).code, Some(2));
}

#[test]
fn help_has_examples_for_each_command_and_the_exit_codes() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for (code, _) in [(0, ""), (1, ""), (2, ""), (3, ""), (4, "")] {
        assert!(help.out.contains(&format!("\n  {code}  ")), "{}", help.out);
    }
    for command in ["run", "check", "init", "call", "token"] {
        let help = folder.run(&[command, "--help"]).out;
        assert!(
            help.contains(&format!("Examples:\n  toolbooth {command}")),
            "{help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn wrong_command_line_and_wrong_file_exit_with_2_and_a_missing_file_with_3() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["chek"]).code, Some(2));
    assert_eq!(folder.run(&[]).code, Some(2));
    assert_eq!(
        folder.run(&["check", "booth.toml", "--", "uvx"]).code,
        Some(2)
    );
    for args in [&["run", "--"][..], &["check", "--"], &["call", "a", "--"]] {
        let no_command = folder.run(args);
        assert_eq!(no_command.code, Some(2));
        let message = "error: the command of a server follows `--`, as in `toolbooth run -- npx -y \
            a-server`\n";
        assert!(no_command.err.starts_with(message), "{}", no_command.err);
    }
    let open = folder.run(&["run", "--http", "0.0.0.0:0", "--", "cat"]);
    assert_eq!(
        (open.code, open.err.as_str()),
        (
            Some(2),
            "error: 0.0.0.0:0 is reachable from other machines, so clients need tokens: use a \
             file with [tenants.NAME], or listen on 127.0.0.1\n"
        )
    );
    let missing = folder.run(&["check"]);
    assert_eq!(missing.code, Some(3));
    assert_eq!(
        missing.err,
        "error: booth.toml: the file could not be read\n  \
         caused by: No such file or directory (os error 2)\n  \
         tip: `toolbooth init` writes a file, and `toolbooth run -- COMMAND` needs none\n"
    );
    let without_separator = folder.run(&["run", "npx", "-y", "a-server"]);
    assert_eq!(without_separator.code, Some(2));
    assert!(
        without_separator
            .err
            .contains("tip: the command of a server follows `--`, as in `-- npx -y a-server`\n"),
        "{}",
        without_separator.err
    );

    let folder = Folder::with("[tools.greet]\ncomand = [\"echo\"]\n");
    let wrong = folder.run(&["check"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""));
    assert!(
        wrong
            .err
            .starts_with("error: booth.toml: line 2, column 1, in `tools.greet.comand`: "),
        "{}",
        wrong.err
    );
}
