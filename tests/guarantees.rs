//! `GUARANTEES.md` names a test for each guarantee, `CASES.md` one for each case of real use, and
//! each of these tests exists.

#![expect(clippy::panic, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

const NOT_BUILT: &str = "not built yet";

/// Every id of the acceptance list, as `(letter, number of ids)`.
const IDS: [(char, usize); 7] = [
    ('C', 7),
    ('P', 7),
    ('T', 7),
    ('L', 7),
    ('Q', 5),
    ('R', 4),
    ('D', 3),
];

/// Every id of the cases of real use.
const CASES: &str = "A1 A2 A3 A4 A5 A6 A7 A8 B1 B2 B3 B3b B4 B5 B6 \
    C1 C2 C3 C4 C4b C5 C6 C7 C8 C9 D1 D2 D3 D4 D5 E1 E1b E2 E3 \
    F1 F1b F1c F1d F2 F3 F4 F5 G1 G2 G3 G4";

/// Every scenario, pipeline, criterion and recommendation of the acceptance list.
const SCENARIOS: [&str; 49] = [
    "007 slow_tool_timeout",
    "007 partial_result_tool",
    "007 streaming_tool_timeout",
    "007 concurrent_timeout",
    "007 resource_cleanup",
    "007 async_generator_timeout",
    "007 error_injection",
    "008 sequential_5",
    "008 parallel_10",
    "008 parallel_25",
    "008 high_concurrency_50",
    "008 high_concurrency_100",
    "008 race_condition_20",
    "008 rate_limiting_50",
    "008 cascading_failure_20",
    "008 resource_exhaustion_5",
    "pipeline SlowTool",
    "pipeline PartialResult",
    "pipeline Streaming",
    "pipeline TimeoutTestStage",
    "pipeline FanOutFanIn",
    "pipeline AsyncGenerator",
    "pipeline ResourceExhaustion",
    "pipeline ErrorInjection",
    "pipeline ForcedTimeout",
    "pipeline Sequential, Parallel, Mixed",
    "pipeline Priority",
    "pipeline HighConcurrency",
    "pipeline RateLimitSimulation",
    "pipeline RaceCondition",
    "pipeline CascadingFailure",
    "criterion one timeout",
    "criterion 100 timeouts",
    "criterion 10,000 timeouts",
    "criterion memory",
    "criterion CPU",
    "criterion outcomes",
    "cleanup on timeout",
    "heartbeat",
    "timeout coordinator",
    "metrics",
    "timeline",
    "backpressure",
    "priority",
    "fairness",
    "circuit breaker",
    "atomic shared state",
    "test context",
    "guides",
];

/// A row of a table: an id and its tests.
struct Row {
    id: String,
    tests: Vec<String>,
}

#[test]
fn every_guarantee_has_a_row() {
    let ids = IDS.map(|(letter, count)| (1..=count).map(move |n| format!("{letter}{n}")));
    let expected: Vec<_> = ids.into_iter().flatten().collect();
    assert_eq!(ids_of("GUARANTEES.md", 0), expected);
}

#[test]
fn every_scenario_has_a_row() {
    assert_eq!(ids_of("GUARANTEES.md", 1), SCENARIOS);
}

fn ids_of(document: &str, table: usize) -> Vec<String> {
    let rows = rows(document, table).into_iter();
    rows.map(|row| row.id).collect()
}

#[test]
fn every_case_has_a_row() {
    let expected: Vec<_> = CASES.split_whitespace().collect();
    assert_eq!(ids_of("CASES.md", 0), expected);
}

#[test]
fn every_test_of_the_tables_exists_and_names_its_id() {
    for (document, before) in [("GUARANTEES.md", ""), ("CASES.md", "Case ")] {
        for Row { id, tests } in rows(document, 0) {
            for test in tests {
                let (id, doc) = (format!(" {before}{id} "), words(&doc_of_test(&id, &test)));
                assert!(
                    doc.contains(&id),
                    "the comment of {test} does not have `{id}`"
                );
            }
        }
    }
}

#[test]
fn every_test_of_a_scenario_exists() {
    for Row { id, tests } in rows("GUARANTEES.md", 1) {
        for test in tests {
            doc_of_test(&id, &test);
        }
    }
}

/// Returns the doc comment of `target::test`. Panics if there is no such test.
fn doc_of_test(id: &str, test: &str) -> String {
    let (target, name) = test.rsplit_once("::").expect("a target and a test");
    let doc = doc_of(&sources(target), name);
    doc.unwrap_or_else(|| panic!("{id}: there is no test {test}"))
}

/// Replaces punctuation by single spaces, also at both ends.
fn words(text: &str) -> String {
    let words = text.split(|char: char| !char.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!(" {} ", words.join(" "))
}

/// Parses the n-th table of a document. Panics for a row that names no test and is not marked as
/// not built.
fn rows(document: &str, table: usize) -> Vec<Row> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let document = fs::read_to_string(document).expect("a document");
    let lines: Vec<_> = document.lines().collect();
    let blocks = lines.chunk_by(|a, b| a.starts_with('|') == b.starts_with('|'));
    let tables = blocks.filter(|lines| lines[0].starts_with('|'));
    // Below the head and its line.
    let rows = tables.skip(table).take(1).flatten().skip(2);
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, tests] = cells[..] else {
            panic!("not a row of three cells: {line}");
        };
        // The text between backticks is at the odd positions.
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert_eq!(tests.is_empty(), line.contains(NOT_BUILT), "{line}");
        Row {
            id: id.to_owned(),
            tests: tests.into_iter().map(str::to_owned).collect(),
        }
    });
    rows.collect()
}

/// Returns the sources of a target: one file, or all files of a folder.
fn sources(target: &str) -> Vec<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, target) = match target.split_once("::") {
        Some((name, target)) => (package.join("../crates").join(name).join("tests"), target),
        None => (package.to_path_buf(), target),
    };
    let file = folder.join(target).with_extension("rs");
    let files = match file.is_file() {
        true => vec![file],
        false => modules(&folder.join(target)),
    };
    let read = |file: PathBuf| fs::read_to_string(file).expect("a source");
    files.into_iter().map(read).collect()
}

fn modules(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|_| panic!("no target {folder:?}"));
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.is_file()).collect()
}

/// Returns the doc comment of the test of this name, if there is one.
fn doc_of(sources: &[String], name: &str) -> Option<String> {
    let function = format!("fn {name}(");
    let doc = |source: &String| {
        let before = &source[..source.find(&function)?];
        let above = &before[..=before.rfind('\n')?];
        // From the function upwards: its attributes, then its doc comment.
        let above = above.lines().rev().take_while(|line| !line.is_empty());
        let above: Vec<_> = above.collect();
        let is_test = |line: &&str| line.starts_with("#[") && line.contains("test");
        let doc = above.iter().filter_map(|line| line.strip_prefix("///"));
        above.iter().any(is_test).then(|| doc.collect::<String>())
    };
    sources.iter().find_map(doc)
}
