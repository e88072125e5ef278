//! `GUARANTEES.md` names a test for each guarantee, and each of these tests exists.

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

/// A row of the table: an id and its tests.
struct Row {
    id: String,
    tests: Vec<String>,
}

#[test]
fn every_guarantee_has_a_row() {
    let ids = IDS.map(|(letter, count)| (1..=count).map(move |n| format!("{letter}{n}")));
    let expected: Vec<_> = ids.into_iter().flatten().collect();
    let found: Vec<_> = rows().into_iter().map(|row| row.id).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_test_of_the_table_exists_and_names_its_guarantee() {
    for Row { id, tests } in rows() {
        for test in tests {
            let (target, name) = test.rsplit_once("::").expect("a target and a test");
            let doc = doc_of(&sources(target), name);
            let doc = doc.unwrap_or_else(|| panic!("{id}: there is no test {test}"));
            let mut words = doc.split(|char: char| !char.is_alphanumeric());
            assert!(words.any(|word| word == id), "{test} does not name {id}");
        }
    }
}

/// Parses the table. Panics for a row that names no test and is not marked as not built.
fn rows() -> Vec<Row> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("GUARANTEES.md");
    let table = fs::read_to_string(table).expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows = rows.skip(1).map(|line| {
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
