//! Every file and every item that `ARCHITECTURE.md` names exists.
//!
//! A code span with a `/` is a path. `Type::function` followed by `in` and a path names an item of
//! that file. Code blocks are not checked.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn named_files_and_items_exist() {
    let text = read(&workspace().join("crates/toolbooth/ARCHITECTURE.md"));
    let spans = spans(&text);
    let (mut files, mut items) = (0, 0);
    let mut missing = Vec::new();
    for (index, (before, span)) in spans.iter().enumerate() {
        if !span.contains('/') {
            continue;
        }
        files += 1;
        let Some(path) = find(span) else {
            missing.push((*span).to_owned());
            continue;
        };
        if index == 0 || before.trim() != "in" {
            continue;
        }
        items += 1;
        let item = spans[index - 1].1;
        if !read(&path).lines().any(|line| defines(line, item)) {
            missing.push(format!("{item} in {span}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(
        files >= 20 && items >= 20,
        "{files} files and {items} items"
    );
}

#[test]
fn items_are_recognised() {
    assert!(defines(
        "    pub(crate) fn poll_grace(self) {",
        "ResponseFuture::poll_grace"
    ));
    assert!(defines("struct Permit {", "Permit"));
    assert!(defines("impl Drop for Permit {", "Permit::drop"));
    assert!(!defines("    fn poll_graceful(self) {", "poll_grace"));
    assert!(!defines("    self.poll_grace(cx)", "poll_grace"));
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file of the workspace")
}

/// Returns the code spans of a document, each with the text between it and the one before.
fn spans(text: &str) -> Vec<(&str, &str)> {
    let mut spans = Vec::new();
    for (number, block) in text.split("```").enumerate() {
        if number % 2 == 1 {
            continue;
        }
        let mut parts = block.split('`');
        while let (Some(before), Some(span)) = (parts.next(), parts.next()) {
            spans.push((before, span));
        }
    }
    spans
}

/// Returns the file or folder that a path names, from the folder of the workspace or of the crates.
fn find(path: &str) -> Option<PathBuf> {
    let workspace = workspace();
    [workspace.join(path), workspace.join("crates").join(path)]
        .into_iter()
        .find(|path| path.exists())
}

/// Returns whether the line defines the item. `Type::drop` is defined by `impl Drop for Type`.
fn defines(line: &str, item: &str) -> bool {
    let name = match item.strip_suffix("::drop") {
        Some(owner) => return line.contains(&format!("Drop for {owner}")),
        None => item.rsplit("::").next().unwrap_or(item),
    };
    ["fn", "struct", "enum", "trait", "type", "macro_rules!"]
        .into_iter()
        .any(|keyword| {
            let definition = format!("{keyword} {name}");
            line.split_once(&definition).is_some_and(|(before, after)| {
                let starts = before.is_empty() || before.ends_with([' ', '(']);
                starts && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
}
