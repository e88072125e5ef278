//! Texts that are nearly files.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A file that has each table.
pub(crate) const FULL: &str = "\
[upstreams.a]
command = [\"a\", \"${A}\"]
env = { B = \"${A}\" }
prefix = \"a_\"
[upstreams.b]
url = \"https://example.com/mcp\"
bearer = \"${A}\"
headers = { x = \"${A}\" }
prefix = \"b_\"
[tools.t]
command = [\"t\", [\"--n\", \"{n}\"], \"--\", \"{p}\"]
input = { p = { description = \"p\" }, n = { type = \"integer\", optional = true } }
[policies.default]
timeout = \"30s\"
[policies.groups.g]
tools = [\"a_*\", \"t\"]
rate = [\"10/s\", { per_hour = 5, burst = 2 }]
[listen]
http = \"127.0.0.1:8808\"
[tenants.x]
token_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"
rate = \"1/s\"
[admin]
listen = \"127.0.0.1:8809\"
[log]
level = \"info\"
[shutdown]
grace = \"1s\"
";

/// Syntax of TOML, keys, and values at the end of a range.
const PARTS: [&str; 48] = [
    "[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "'",
    "\n",
    ".",
    ",",
    "#",
    "\\",
    "\0",
    "ä",
    "\u{feff}",
    "\r",
    "${",
    "${A}",
    "$${",
    "${A",
    "{a}",
    "{{",
    "*",
    "none",
    "-1",
    "0",
    "1e309",
    "nan",
    "true",
    "9223372036854775807",
    "1979-05-27",
    "\"\"\"",
    "[[",
    "]]",
    "upstreams",
    "tools",
    "policies",
    "prefix",
    "command",
    "input",
    "default",
    "optional",
    "\"30s\"",
    "token_sha256",
    "\"${A}\"",
    "\\u0000",
    "\\ud800",
    "𝄞",
];

const TABLES: [&str; 16] = [
    "upstreams.a",
    "upstreams.b",
    "upstreams.\"\"",
    "tools.t",
    "tools.\"a b\"",
    "policies.default",
    "policies.groups.g",
    "policies.tools.t",
    "policies.tools.a_x",
    "listen",
    "tenants.x",
    "admin",
    "log",
    "shutdown",
    "tools.t.input.p",
    "[tools]",
];

const KEYS: [&str; 44] = [
    "command",
    "env",
    "prefix",
    "url",
    "bearer",
    "headers",
    "cwd",
    "input",
    "output",
    "description",
    "timeout",
    "tools",
    "rate",
    "concurrency",
    "queue",
    "retry",
    "breaker",
    "cache",
    "partial",
    "stdio",
    "http",
    "path",
    "api",
    "allowed_hosts",
    "allowed_origins",
    "max_body",
    "max_connections",
    "header_timeout",
    "token_sha256",
    "priority",
    "listen",
    "level",
    "format",
    "grace",
    "limit",
    "ok_exit_codes",
    "max_output",
    "read_only",
    "type",
    "optional",
    "default",
    "enum",
    "a.b.c",
    "\"${A}\"",
];

const VALUES: [&str; 40] = [
    "\"${A}\"",
    "\"x${A}y\"",
    "\"${NONE}\"",
    "\"${\"",
    "\"none\"",
    "\"30s\"",
    "\"1/s\"",
    "\"0s\"",
    "\"10000000000000y\"",
    "\"\"",
    "\"*\"",
    "\"a_\"",
    "\"a_*\"",
    "\"info,[\"",
    "\"/\"",
    "\"127.0.0.1:0\"",
    "\"0.0.0.0:1\"",
    "\"[::1]:65536\"",
    "\"http://${A}@h/\"",
    "\"http://\"",
    "\"https://h/${A}?k=${A}\"",
    "[\"${A}\"]",
    "[\"t\", [\"--x\", \"{p}\"]]",
    "[\"{p}\"]",
    "[]",
    "[[]]",
    "{}",
    "{ p = {} }",
    "{ p = { type = \"integer\", default = \"${A}\" } }",
    "{ max = 1 }",
    "{ \"${A}\" = \"${A}\" }",
    "0",
    "-1",
    "18446744073709551615",
    "1.5",
    "nan",
    "true",
    "1979-05-27T07:32:00Z",
    "'''${A}'''",
    "{ p = { enum = [\"${A}\", 1] } }",
];

#[derive(Debug, Clone)]
enum Edit {
    Remove,
    Insert(&'static str),
    Replace(&'static str),
    Copy(Index),
    Char(char),
}

/// Texts: files with changes, lines that a file may have, deep and long ones, and any others.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => edited(),
        8 => lines(),
        2 => vec(select(&PARTS[..]), 0..60).prop_map(|parts| parts.concat()),
        1 => repeated(),
        1 => any::<String>(),
    ]
}

fn edited() -> impl Strategy<Value = String> {
    let part = || select(&PARTS[..]);
    let edit = prop_oneof![
        Just(Edit::Remove),
        part().prop_map(Edit::Insert),
        select(&VALUES[..]).prop_map(Edit::Replace),
        part().prop_map(Edit::Replace),
        any::<Index>().prop_map(Edit::Copy),
        any::<char>().prop_map(Edit::Char),
    ];
    vec((any::<Index>(), 0_usize..24, edit), 0..8).prop_map(|edits| {
        let mut chars: Vec<char> = FULL.chars().collect();
        for (at, length, edit) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + length).min(chars.len());
            match edit {
                Edit::Remove => drop(chars.drain(at..end)),
                Edit::Insert(part) => drop(chars.splice(at..at, part.chars())),
                Edit::Replace(part) => drop(chars.splice(at..end, part.chars())),
                Edit::Copy(to) => {
                    let copied = chars[at..end].to_vec();
                    let to = to.index(chars.len() + 1);
                    drop(chars.splice(to..to, copied));
                }
                Edit::Char(char) => chars.insert(at, char),
            }
        }
        chars.into_iter().collect()
    })
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        1 => select(&TABLES[..]).prop_map(|table| format!("[{table}]\n")),
        3 => (select(&KEYS[..]), select(&VALUES[..]))
            .prop_map(|(key, value)| format!("{key} = {value}\n")),
    ];
    vec(line, 0..12).prop_map(|lines| lines.concat())
}

/// Something that a parser may follow by recursion, or compare with all others.
fn repeated() -> impl Strategy<Value = String> {
    let repeat = |start: &'static str, part: &'static str, end: &'static str| {
        (0_usize..20_000).prop_map(move |times| format!("{start}{}{end}", part.repeat(times)))
    };
    let numbered = |start: &'static str, middle: &'static str| {
        (0_usize..2_000).prop_map(move |times| {
            let line = |number| format!("{start}{number}{middle}\n");
            (0..times).map(line).collect::<String>()
        })
    };
    prop_oneof![
        repeat("x = ", "[", ""),
        repeat("x = ", "{a=", ""),
        repeat("", "a.", "a = 1"),
        repeat("[", "a.", "a]"),
        repeat("[tools.t.", "a.", "a]"),
        repeat("[tools.t]\ninput.", "a.", "a = 1"),
        repeat("[tools.t]\ncommand = [\"", "${A}", "\"]"),
        repeat("[tools.t]\ncommand = [\"t\", \"", "{p}", "\"]"),
        repeat("[tools.t]\ncommand = [\"t\"", ", []", "]"),
        repeat("[policies.groups.g]\ntools = [\"", "*a", "\"]"),
        repeat("[log]\nlevel = \"", "a=", "\""),
        numbered("[upstreams.a", "]\ncommand = [\"a\"]"),
        numbered("[tools.a", "]\ncommand = [\"a\"]"),
        numbered(
            "[policies.groups.a",
            "]\ntools = [\"a*\"]\n[policies.groups.a]"
        ),
        numbered("[tenants.a", "]\ntoken_sha256 = \"a\""),
    ]
}
