//! Reading a file.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::time::Instant;
use toolbooth_gateway::config::{Config, ConfigError};

use crate::fuzz;
use crate::text::{FULL, text};

/// The value of the variable `A`, which neither an error nor `Debug` shows.
const SECRET: &str = "s3cret";

/// The longest time for one text, of up to 100 kB, without optimization on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::from_toml_with(text, |name| (name == "A").then(|| SECRET.into()))
}

#[test]
fn any_text_is_settings_or_an_error_at_a_place_in_it() {
    fuzz("files", 6, &text(), |text| {
        let begun = Instant::now();
        match read(&text) {
            Ok(config) => drawn(&config)?,
            Err(error) => placed(&text, &error)?,
        }
        let took = begun.elapsed();
        prop_assert!(took < LIMIT, "{took:?}");
        Ok(())
    });
}

/// Draws what `toolbooth check` draws.
fn drawn(config: &Config) -> Result<(), TestCaseError> {
    let groups = config.policies.groups.values();
    let mut names: BTreeSet<&str> = groups
        .flat_map(|group| &group.tools)
        .map(String::as_str)
        .collect();
    names.extend(config.tools.keys().map(String::as_str));
    names.extend(config.policies.tools.keys().map(String::as_str));
    for name in names {
        let drawing = config.policies.stack(name).to_string();
        prop_assert!(!drawing.is_empty());
    }
    // The name of a program and the address of a server are shown.
    let summaries = config.upstreams.values();
    let _: Vec<_> = summaries
        .map(|upstream| upstream.transport.summary())
        .collect();
    let shown = format!("{config:?}");
    let mut hidden = shown.split(", ").filter(|part| !part.contains("program: "));
    prop_assert!(!hidden.any(|part| part.contains(SECRET)), "{shown}");
    Ok(())
}

fn placed(text: &str, error: &ConfigError) -> Result<(), TestCaseError> {
    let shown = format!("{error}\n{error:?}");
    prop_assert!(!shown.contains(SECRET), "{shown}");
    prop_assert!(shown.len() < 10_000, "{} bytes", shown.len());
    let (Some(line), Some(column)) = (error.line(), error.column()) else {
        // It is nowhere in the text.
        prop_assert!(error.to_string().starts_with("there is no tool"), "{error}");
        return Ok(());
    };
    let lines: Vec<&str> = text.split('\n').collect();
    prop_assert!((1..=lines.len()).contains(&line), "{error}");
    let columns = lines[line - 1].chars().count() + 1;
    prop_assert!((1..=columns).contains(&column), "{error}");
    Ok(())
}

#[test]
fn the_file_without_changes_is_correct() {
    let config = read(FULL).expect("a correct file");
    assert_eq!(config.upstreams.len(), 2);
}

#[test]
fn a_text_that_is_too_deep_has_its_place() {
    for deep in [
        "a.".repeat(100) + "a = 1",
        "a = ".to_owned() + &"[".repeat(100),
    ] {
        let text = format!("[log]\nlevel = \"info\"\n{deep}\n[admin]\n");
        let error = read(&text).expect_err("it is too deep");
        assert_eq!(error.line(), Some(3), "{error}");
    }
}
