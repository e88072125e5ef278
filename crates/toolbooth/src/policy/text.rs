//! Policies from TOML and JSON.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::check;
use super::data::Policies;
use super::error::{PolicyError, PolicyErrorKind};

/// The longest text that is read, in bytes: 4 MiB.
pub const MAX_TEXT: usize = 4 << 20;

/// The TOML of policies, to find the places of faults. It is no part of their value.
#[derive(Debug, Clone, Default)]
pub(super) struct Source(Option<Arc<str>>);

// === impl Policies ===

impl Policies {
    /// Reads policies from TOML. See the [module](super) for the format.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and the column of the fault, and what is allowed there.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        bounded(text)?;
        let table = DeTable::parse(text).map_err(|error| {
            let message = format!("this is no TOML: {}", error.message());
            let error_at = error.span();
            PolicyError::new(PolicyErrorKind::Syntax, String::new(), message).at(text, error_at)
        })?;
        let table = toml::Deserializer::from(table);
        let mut policies = read(table, |path, error: &toml::de::Error| {
            PolicyError::invalid(path, error.message().to_owned()).at(text, error.span())
        })?;
        policies.source = Source(Some(text.into()));
        check::check(&policies)?;
        Ok(policies)
    }

    /// Reads policies from JSON, with the same keys and values as in TOML.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml). A group or a tool that is named wrongly has no line.
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        bounded(text)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let policies = read(&mut json, json_error)?;
        json.end()
            .map_err(|error| json_error(String::new(), &error))?;
        check::check(&policies)?;
        Ok(policies)
    }
}

/// Reads policies, and converts the error and its path.
fn read<'de, D, F>(deserializer: D, convert: F) -> Result<Policies, PolicyError>
where
    D: Deserializer<'de>,
    F: FnOnce(String, &D::Error) -> PolicyError,
{
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    Policies::deserialize(deserializer).map_err(|error| {
        let path = track.path();
        // The path of no key is a dot.
        let path = match path.iter().len() {
            0 => String::new(),
            _ => path.to_string(),
        };
        convert(path, &error).with_nearest_key()
    })
}

fn json_error(path: String, error: &serde_json::Error) -> PolicyError {
    let text = error.to_string();
    // The place is shown by this crate.
    let message = match text.rfind(" at line ") {
        Some(end) => &text[..end],
        None => &text,
    };
    let converted = match error.is_data() {
        true => PolicyError::invalid(path, message.to_owned()),
        false => {
            let message = format!("this is no JSON: {message}");
            PolicyError::new(PolicyErrorKind::Syntax, String::new(), message)
        }
    };
    converted.at_line(error.line(), error.column())
}

fn bounded(text: &str) -> Result<(), PolicyError> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let message = format!(
        "the text has {} bytes, and {MAX_TEXT} are allowed",
        text.len()
    );
    Err(PolicyError::new(
        PolicyErrorKind::TooLarge,
        String::new(),
        message,
    ))
}

// === impl Source ===

/// All sources are equal.
impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Source {
    /// Returns an error with its place, if there is a text that has these keys: the last one, or
    /// an element of the list that it names.
    pub(super) fn locate(
        &self,
        error: PolicyError,
        keys: &[String],
        index: Option<usize>,
    ) -> PolicyError {
        match &self.0 {
            Some(text) => error.at(text, span_of(text, keys, index)),
            None => error,
        }
    }
}

fn span_of(text: &str, keys: &[String], index: Option<usize>) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?.into_inner();
    let (last, tables) = keys.split_last()?;
    let mut table = &root;
    for key in tables {
        table = find(table, key)?.1.get_ref().as_table()?;
    }
    let (key, value) = find(table, last)?;
    match index {
        Some(index) => Some(value.get_ref().as_array()?.get(index)?.span()),
        None => Some(key.span()),
    }
}

fn find<'a, 'i>(
    table: &'a DeTable<'i>,
    name: &str,
) -> Option<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}
