//! Policies from TOML and JSON.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::check;
use super::data::Policies;
use super::document::{Document, path_of};
use super::error::{PolicyError, PolicyErrorKind};

/// The longest text that is read, in bytes: 4 MiB.
pub const MAX_TEXT: usize = 4 << 20;

/// Where policies were read from, to find the places of faults. It is no part of their value.
#[derive(Clone, Default)]
pub(super) struct Source(Option<Place>);

/// The table of policies in a text.
#[derive(Clone)]
struct Place {
    document: Document,
    /// The keys that lead to the table.
    keys: Arc<[String]>,
}

// === impl Policies ===

impl Policies {
    /// Reads policies from TOML. See the [module](super) for the format.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and the column of the fault, and what is allowed there.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let document = Document::new(text)?;
        document.policies(document.read()?, &[])
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

/// Reads a value, and converts the error and its path.
pub(super) fn read<'de, T, D, F>(deserializer: D, convert: F) -> Result<T, PolicyError>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
    F: FnOnce(String, &D::Error) -> PolicyError,
{
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    T::deserialize(deserializer).map_err(|error| {
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

pub(super) fn bounded(text: &str) -> Result<(), PolicyError> {
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
    pub(super) fn new(document: &Document, keys: &[&str]) -> Self {
        Self(Some(Place {
            document: document.clone(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        }))
    }

    /// Returns the error of a fault at these keys, with its place if there is a text. A key that is
    /// a number may be the position in a list.
    pub(super) fn fault(
        &self,
        kind: PolicyErrorKind,
        keys: &[String],
        message: String,
    ) -> PolicyError {
        match &self.0 {
            Some(place) => {
                let keys = place.keys.iter().chain(keys);
                let keys: Vec<&str> = keys.map(String::as_str).collect();
                place.document.fault_of(kind, &keys, message)
            }
            None => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                PolicyError::new(kind, path_of(&keys), message)
            }
        }
    }
}

/// Shows nothing of the text: it may have secrets beside the policies.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
