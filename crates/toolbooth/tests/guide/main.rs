//! The guides name every pair of layers, and every public type with what it implements.

#[cfg(feature = "retry")]
mod pairs;
#[cfg(all(feature = "full", unix))]
mod types;

use std::collections::{BTreeMap, BTreeSet};

const ROOT: &str = include_str!("../../src/lib.rs");

/// Returns the cells of each row of the tables of a document, without their heads.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = document.lines().collect();
    let is_head = |n: usize| {
        lines
            .get(n + 1)
            .is_some_and(|next| next.starts_with("|---"))
    };
    let is_row = |n: &usize| lines[*n].starts_with("| ") && !is_head(*n);
    let cells = |n: usize| {
        let line: &str = lines[n];
        line.trim_matches('|').split('|').map(str::trim).collect()
    };
    (0..lines.len()).filter(is_row).map(cells).collect()
}

/// Returns the layers of the table in the crate's documentation, as the guide to the order names
/// them: `ConcurrencyLimitLayer` is "concurrency limit".
fn layers() -> BTreeSet<String> {
    let rows = ROOT
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    let types = rows.filter_map(|row| row.split_once("`]").map(|(name, _)| name));
    let words = |name: &str| {
        let mut words = Vec::<String>::new();
        for char in name.chars() {
            match words.last_mut() {
                Some(word) if char.is_lowercase() => word.push(char),
                _ => words.push(char.to_lowercase().to_string()),
            }
        }
        // The last word is "layer" or "policy".
        words.pop();
        words.join(" ")
    };
    types.map(words).collect()
}

#[test]
fn guide_to_the_order_has_each_pair_of_layers_once() {
    let layers = layers();
    assert!(layers.len() >= 10, "{layers:?}");
    let guide = include_str!("../../docs/guide/order.md");
    let pairs_at = guide.find("# Every pair").expect("the table");
    let mut found = BTreeMap::<(String, String), usize>::new();
    for row in rows(&guide[pairs_at..]) {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        for a in row[0].split(", ") {
            for b in row[1].split(", ") {
                let (a, b) = (a.min(b).to_owned(), a.max(b).to_owned());
                *found.entry((a, b)).or_default() += 1;
            }
        }
    }
    let mut expected = BTreeMap::new();
    for a in &layers {
        for b in layers.iter().filter(|b| a < *b) {
            expected.insert((a.clone(), b.clone()), 1);
        }
    }
    assert_eq!(found, expected);
}
