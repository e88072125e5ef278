//! Every file of this package and of the examples is built.
//!
//! The lists of targets in the two manifests equal the files in the folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_file_is_in_the_manifest() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(listed(package, "[[test]]"), found(package));
}

#[test]
fn every_example_is_in_the_manifest() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    assert_eq!(listed(&package, "[[example]]"), found(&package));
}

/// A target: its name, and its path from the package's folder.
type Target = (String, PathBuf);

/// Returns the targets that the manifest names. It is read line by line, since only its headings
/// and `key = "text"` matter.
fn listed(package: &Path, heading: &str) -> BTreeSet<Target> {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("a manifest");
    let mut targets = BTreeSet::new();
    let mut lines = manifest.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if line != heading {
            continue;
        }
        let (mut name, mut path) = (None, None);
        while let Some(line) = lines.next_if(|line| !line.starts_with('[')) {
            match line.split_once('=') {
                Some((key, value)) if key.trim() == "name" => name = Some(text(value)),
                Some((key, value)) if key.trim() == "path" => path = Some(text(value)),
                _ => {}
            }
        }
        let name = name.expect("a target has a name");
        let path = path.expect("a target has a path");
        assert!(
            targets.insert((name.to_owned(), path.into())),
            "{name} is in the manifest twice"
        );
    }
    targets
}

fn text(value: &str) -> &str {
    value.trim().trim_matches('"')
}

/// Returns the targets in the folder: each file but the library, and each folder with a `main.rs`.
fn found(package: &Path) -> BTreeSet<Target> {
    let mut targets = BTreeSet::new();
    for entry in fs::read_dir(package).expect("the package's folder") {
        let path = entry.expect("an entry of it").path();
        let (target, name) = if path.join("main.rs").is_file() {
            (path.join("main.rs"), path.file_name())
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("lib.rs") {
            (path.clone(), path.file_stem())
        } else {
            continue;
        };
        let name = name.and_then(|name| name.to_str()).expect("a plain name");
        let target = target.strip_prefix(package).expect("it is in the folder");
        targets.insert((name.to_owned(), target.to_owned()));
    }
    targets
}
