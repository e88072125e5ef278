//! The page of the bounds has the numbers of the code, and none is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which number of which file is in which row.
const ROWS: &[(&str, &str, &str)] = &[
    ("server/http/link.rs", "RECENT", "messages of one request"),
    (
        "server/http/sessions.rs",
        "HEAD_DELAY",
        "the wait for a response",
    ),
    ("lines/mod.rs", "MAX_LINE", "a message over pipes"),
    ("lines/mod.rs", "MAX_LINE", "a message of a program"),
    (
        "server/http/options.rs",
        "body_limit",
        "the body of an HTTP request",
    ),
    ("server/http/options.rs", "max_sessions", "sessions"),
    (
        "server/http/options.rs",
        "session_idle_limit",
        "a session without a stream",
    ),
    (
        "server/http/options.rs",
        "keep_alive",
        "a call in a session whose client is gone",
    ),
    (
        "server/requests.rs",
        "MAX_IN_FLIGHT",
        "requests in flight of one connection",
    ),
    (
        "server/stdio.rs",
        "MAX_UNSENT",
        "messages over pipes that the client has not read",
    ),
    (
        "server/arguments.rs",
        "MAX_TIMEOUT",
        "the deadline in `_meta`",
    ),
    ("server/page.rs", "MAX_CURSOR", "a cursor of the list"),
    ("server/settings.rs", "PAGE_SIZE", "tools on a page"),
    (
        "server/settings.rs",
        "PROGRESS_INTERVAL",
        "the time between notifications of progress",
    ),
    (
        "server/progress/pending.rs",
        "MAX_MESSAGE",
        "the message of an item",
    ),
    (
        "server/progress/pending.rs",
        "MAX_ITEMS",
        "the items in a notification",
    ),
    (
        "server/progress/pending.rs",
        "MAX_BYTES",
        "the items in a notification",
    ),
    (
        "server/progress/mod.rs",
        "FLUSH",
        "the last notification before a response",
    ),
    (
        "server/collect.rs",
        "MAX_ITEMS",
        "the items of a streaming response",
    ),
    (
        "server/collect.rs",
        "MAX_BYTES",
        "the items of a streaming response",
    ),
    (
        "server/pipes/reject.rs",
        "MAX_FAULT",
        "the fault in the response",
    ),
    (
        "server/changes.rs",
        "NOTIFY",
        "the notification of one client",
    ),
    ("remote/list.rs", "MAX_TOOLS", "the number of tools"),
    ("remote/list.rs", "MAX_BYTES", "the list of tools as JSON"),
    ("remote/list.rs", "MAX_PAGES", "the pages of the list"),
    ("remote/list.rs", "MAX_NAME", "the name of a tool"),
    (
        "remote/server/refresh.rs",
        "PAUSE",
        "the time between two readings",
    ),
    (
        "remote/server/refresh.rs",
        "MIN_RESUBSCRIBE",
        "the wait between subscriptions",
    ),
    (
        "remote/server/refresh.rs",
        "MAX_RESUBSCRIBE",
        "the wait between subscriptions",
    ),
    (
        "remote/connection/mod.rs",
        "MAX_INSTRUCTIONS",
        "the instructions",
    ),
    (
        "remote/connection/mod.rs",
        "EXIT",
        "the exit of a program that has closed its input",
    ),
    ("remote/error.rs", "MAX_TEXT", "a text in an error"),
    (
        "remote/connection/calls.rs",
        "MAX_MESSAGE",
        "the message of a report",
    ),
    (
        "remote/stderr.rs",
        "TAIL",
        "the standard error that is kept",
    ),
    (
        "remote/stderr.rs",
        "LAST_LINES",
        "the standard error that is kept",
    ),
    ("remote/http.rs", "MAX_RETRY_AFTER", "the time to retry"),
    (
        "remote/stdio/transport.rs",
        "MAX_UNSENT",
        "messages that a program has not read",
    ),
    (
        "remote/http.rs",
        "MAX_REQUESTS",
        "HTTP requests whose response",
    ),
    ("remote/http.rs", "HOST_TIMEOUT", "a connection to the host"),
    (
        "remote/builder.rs",
        "CONNECT_TIMEOUT",
        "the handshake and the list",
    ),
    (
        "remote/builder.rs",
        "MIN_BACKOFF",
        "the wait between attempts to connect",
    ),
    (
        "remote/builder.rs",
        "MAX_BACKOFF",
        "the wait between attempts to connect",
    ),
    ("remote/http.rs", "RESUMES", "attempts to resume the stream"),
    (
        "remote/call.rs",
        "CANCEL_TIMEOUT",
        "the notification that a call is cancelled",
    ),
    (
        "remote/call.rs",
        "AFTER_DEADLINE",
        "a call after its deadline",
    ),
    (
        "remote/stdio/mod.rs",
        "EXIT_GRACE",
        "the exit of a program whose input is closed",
    ),
    (
        "remote/stdio/mod.rs",
        "KILL_GRACE",
        "the exit of a program after SIGTERM",
    ),
    (
        "remote/stdio/mod.rs",
        "DRAIN",
        "the end of the output of a program",
    ),
    (
        "remote/server/shared.rs",
        "CLOSE_TIMEOUT",
        "the close of a server",
    ),
];

/// Numbers that bound nothing, or only what another bound has in it.
const OTHERS: &[(&str, &str)] = &[
    ("server/http/link.rs", "RETRY"),
    ("lines/id.rs", "MAX_ID"),
    ("lines/mod.rs", "ENOUGH"),
    ("remote/connection/calls.rs", "SCALE"),
    ("remote/http.rs", "RESUME_AFTER"),
    ("remote/server/link.rs", "STABLE"),
    ("remote/stdio/transport.rs", "OVERHEAD"),
    ("server/page.rs", "VERSION"),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the code of a file without its tests.
fn code(file: &str) -> String {
    let text = fs::read_to_string(sources().join(file)).expect("a file");
    let code = text.split("#[cfg(test)]\nmod tests").next();
    code.unwrap_or_default().to_owned()
}

/// Returns the expression of a constant, or of a field.
fn expression(file: &str, name: &str) -> String {
    let code = code(file);
    let after = |start: String, end: char| {
        let rest = code.split_once(&start)?.1;
        Some(rest.split_once(end)?.0.to_owned())
    };
    let constant = after(format!("const {name}: "), ';');
    let constant = constant.and_then(|text| Some(text.split_once(" = ")?.1.to_owned()));
    let field = || after(format!("\n            {name}: "), '\n');
    let found = constant.or_else(field);
    let found = found.expect(name);
    found.trim_end_matches(',').to_owned()
}

/// Computes a product, or a number that is shifted.
fn number(expression: &str) -> u64 {
    let parse = |text: &str| {
        text.trim()
            .replace('_', "")
            .parse::<u64>()
            .expect("a number")
    };
    match expression.split_once("<<") {
        Some((number, bits)) => parse(number) << parse(bits),
        None => expression.split('*').map(parse).product(),
    }
}

/// Returns the ways to write a number: with its unit, and as a count.
fn written(expression: &str) -> Vec<String> {
    let within = |start: &str| expression.strip_prefix(start)?.strip_suffix(')');
    if let Some(millis) = within("Duration::from_millis(") {
        return vec![format!("{} ms", number(millis))];
    }
    if let Some(seconds) = within("Duration::from_secs(") {
        let seconds = number(seconds);
        return vec![match seconds {
            _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
            60 => "1 min".to_owned(),
            _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
            _ => format!("{seconds} s"),
        }];
    }
    let count = number(expression);
    let mut written = vec![count.to_string(), format!("{count} bytes")];
    if count >= 1_000 {
        written.push(format!("{},{:03}", count / 1_000, count % 1_000));
    }
    for (unit, size) in [("KiB", 1 << 10), ("MiB", 1 << 20)] {
        if count.is_multiple_of(size) && (1..1_024).contains(&(count / size)) {
            written.push(format!("{} {unit}", count / size));
        }
    }
    written
}

/// Returns the bounds of the row that begins so, in the words of the page.
fn bounds(page: &str, row: &str) -> Vec<String> {
    let begins = |line: &&str| {
        let rest = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_prefix(row));
        rest.is_some_and(|rest| rest.starts_with([' ', ',']))
    };
    let line = page.lines().find(begins);
    let line = line.expect(row);
    let cell = line.split(" | ").nth(1).expect("a bound");
    cell.split(" and ")
        .flat_map(|part| part.split(" to "))
        .map(|part| part.split(" in ").next().unwrap_or(part).to_owned())
        .map(|part| part.trim_end_matches(" lines").to_owned())
        .collect()
}

#[test]
fn each_bound_of_the_page_is_that_of_the_code() {
    let page = fs::read_to_string(sources().join("bounds.md")).expect("the page");
    let mut rows = BTreeSet::new();
    for (file, name, row) in ROWS {
        let expression = expression(file, name);
        let written = written(&expression);
        let bounds = bounds(&page, row);
        let is_there = bounds.iter().any(|bound| written.contains(bound));
        assert!(
            is_there,
            "{file}: {name} is {expression}, the page has {bounds:?}"
        );
        rows.insert(*row);
    }
    // Two rows are of no number in this crate: one request for each id, and the depth of JSON.
    let on_page = page.lines().filter(|line| line.starts_with("| ")).count();
    let headings = page.matches("| What |").count();
    assert_eq!(on_page - headings, rows.len() + 2);
}

#[test]
fn each_number_of_the_code_has_a_row() {
    let known: BTreeSet<_> = ROWS.iter().map(|(file, name, _)| (*file, *name)).collect();
    let known: BTreeSet<_> = known.into_iter().chain(OTHERS.iter().copied()).collect();
    let mut open = vec![sources()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let file = path.strip_prefix(sources()).expect("a source");
        let file = file.to_str().expect("UTF-8");
        // Tests in files of their own.
        if !file.ends_with(".rs") || file.ends_with("hostile.rs") || file.ends_with("drops.rs") {
            continue;
        }
        for line in code(file).lines() {
            let Some((_, rest)) = line.split_once("const ") else {
                continue;
            };
            let Some((name, rest)) = rest.split_once(": ") else {
                continue;
            };
            let is_number = ["usize", "u8", "u32", "u64", "f64", "Duration"]
                .iter()
                .any(|kind| rest.starts_with(&format!("{kind} = ")));
            assert!(
                !is_number || known.contains(&(file, name)),
                "{file}: {name} is not on the page"
            );
        }
    }
}

#[test]
fn the_depth_of_json_is_that_of_the_parser() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(serde_json::from_str::<serde_json::Value>(&nested(127)).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(128)).is_err());
}
