//! MCP servers behind the program: here another booth, served over standard input and output.

use crate::program::Folder;

/// A booth whose server is the booth of `inner.toml`.
fn relay() -> Folder {
    let text = format!(
        "[upstreams.inner]\ncommand = [\"{}\", \"run\", \"inner.toml\"]\nprefix = \"inner_\"\n\
         [policies.groups.inner]\ntools = [\"inner_*\"]\nconcurrency = 1\n",
        env!("CARGO_BIN_EXE_toolbooth")
    );
    let folder = Folder::with(&text);
    let inner = "[tools.greet]\ncommand = [\"echo\", \"hello\", \"{name}\"]\n\
        [tools.steps]\ncommand = [\"sh\", \"-c\", \"echo one; echo two\"]\noutput = \"lines\"\n";
    std::fs::write(folder.path().join("inner.toml"), inner).expect("a file for the test");
    folder
}

#[test]
fn call_of_a_tool_of_a_server_prints_its_result_and_ends_the_server() {
    let folder = relay();
    let greet = folder.run(&["call", "inner_greet", "{\"name\": \"Ada\"}", "-q"]);
    assert_eq!(
        (greet.code, greet.out.as_str()),
        (Some(0), "hello Ada\n"),
        "{}",
        greet.err
    );

    let inner = ["--", env!("CARGO_BIN_EXE_toolbooth"), "run", "inner.toml"];
    let direct = folder.run(&[&["call", "greet", "{\"name\": \"Bo\"}", "-q"], &inner[..]].concat());
    assert_eq!(
        (direct.code, direct.out.as_str()),
        (Some(0), "hello Bo\n"),
        "{}",
        direct.err
    );
}

#[test]
fn check_with_connections_draws_the_tools_of_a_server() {
    let checked = relay().run(&["check", "--connect"]);
    assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""));
    let expected = "\
server inner: TOOLBOOTH, 2 arguments: 2 tools

inner_greet, group inner
inner_steps, group inner
└ timeout 2m
  └ breaker 5 failures in a row, open 30s (tool)
    └ concurrency 1, queue 1024 (group inner)
      └ timeout of an attempt idle 1m
        └ partial results first 1024 items, 1048576 bytes
          └ tool
";
    let expected = expected.replace("TOOLBOOTH", env!("CARGO_BIN_EXE_toolbooth"));
    assert!(checked.out.ends_with(&expected), "{}", checked.out);
}
