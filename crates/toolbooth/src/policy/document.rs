//! A text of TOML, and the places of its keys.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::data::Policies;
use super::error::{PolicyError, PolicyErrorKind};
use super::text::{Source, bounded, read};

/// A TOML file that has policies among other settings.
///
/// Its errors are those of [`Policies::from_toml`]: they have the line, the column, the keys, and
/// what is allowed there, with the nearest key.
///
/// ```
/// use serde::Deserialize;
/// use toolbooth::policy::{Document, Policies, PolicyError};
///
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     port: u16,
///     policies: Policies,
/// }
///
/// fn settings(text: &str) -> Result<Settings, PolicyError> {
///     let document = Document::new(text)?;
///     let mut settings: Settings = document.read()?;
///     if settings.port < 1024 {
///         return Err(document.fault(&["port"], "it is reserved"));
///     }
///     settings.policies = document.policies(settings.policies, &["policies"])?;
///     Ok(settings)
/// }
///
/// let text = "port = 8080\n[policies.tools.search]\ntimeout = \"30s\"\n";
/// assert_eq!(settings(text)?.policies.tools.len(), 1);
///
/// let error = settings("port = 80\npolicies = {}").err().ok_or("the port is reserved")?;
/// assert_eq!(error.to_string(), "line 1, column 1, in `port`: it is reserved");
/// let error = settings("prt = 80").err().ok_or("there is no such key")?;
/// assert_eq!(
///     error.to_string(),
///     "line 1, column 1, in `prt`: unknown field `prt`, expected `port` or `policies`: \
///      did you mean `port`?"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Document(Arc<str>);

// === impl Document ===

impl Document {
    /// Creates a document of a text, which is not parsed yet.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_TEXT`](super::MAX_TEXT).
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, PolicyError> {
        let text = text.into();
        bounded(&text)?;
        Ok(Self(text))
    }

    /// Reads all settings of the document.
    ///
    /// The message of an error may quote the value that is wrong, as serde does. A type of secret
    /// values should not pass them to the errors of its `Deserialize`.
    ///
    /// # Errors
    /// If the text is no TOML, or a key or a value is not allowed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, PolicyError> {
        let text = &*self.0;
        let table = DeTable::parse(text).map_err(|error| {
            let message = format!("this is no TOML: {}", error.message());
            let error_at = error.span().or_else(|| unplaced(text));
            PolicyError::new(PolicyErrorKind::Syntax, String::new(), message).at(text, error_at)
        })?;
        read(
            toml::Deserializer::from(table),
            |path, error: &toml::de::Error| {
                PolicyError::invalid(path, error.message().to_owned()).at(text, error.span())
            },
        )
    }

    /// Checks policies that were read from the table that these keys lead to. A later error of the
    /// result, such as that of [`Toolbox::apply`](crate::Toolbox::apply), has its place.
    ///
    /// # Errors
    /// As [`Policies::from_toml`].
    pub fn policies(&self, mut policies: Policies, keys: &[&str]) -> Result<Policies, PolicyError> {
        policies.source = Source::new(self, keys);
        check::check(&policies)?;
        Ok(policies)
    }

    /// Returns the error of a fault at the key that these keys lead to, or at the last of them that
    /// is there. A number is the position in a list, from 0.
    #[must_use]
    pub fn fault(&self, keys: &[&str], message: impl Into<String>) -> PolicyError {
        self.fault_of(PolicyErrorKind::Invalid, keys, message.into())
    }

    pub(super) fn fault_of(
        &self,
        kind: PolicyErrorKind,
        keys: &[&str],
        message: String,
    ) -> PolicyError {
        let error = PolicyError::new(kind, path_of(keys), message);
        error.at(&self.0, span_of(&self.0, keys))
    }
}

/// Does not show the text: it may have secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// Returns the keys as errors show them: `groups.github.tools[1]`.
pub(super) fn path_of(keys: &[&str]) -> String {
    let mut path = String::new();
    for key in keys {
        match key.parse::<usize>() {
            Ok(index) if !path.is_empty() => path.push_str(&format!("[{index}]")),
            _ if path.is_empty() => path.push_str(key),
            _ => {
                path.push('.');
                path.push_str(key);
            }
        }
    }
    path
}

/// Returns the first line at which parsing fails without a place, as it does where keys or values
/// are too deep.
fn unplaced(text: &str) -> Option<Range<usize>> {
    let fails =
        |end: usize| DeTable::parse(&text[..end]).is_err_and(|error| error.span().is_none());
    let lines = text.split_inclusive('\n').scan(0, |end, line| {
        let start = *end;
        *end += line.len();
        Some(start..*end)
    });
    let lines: Vec<_> = lines.collect();
    let first = lines.partition_point(|line| !fails(line.end));
    lines.get(first).cloned()
}

fn span_of(text: &str, keys: &[&str]) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?.into_inner();
    let (first, keys) = keys.split_first()?;
    let (mut span, mut value) = find(&root, first)?;
    for key in keys {
        let found = match value {
            DeValue::Table(table) => find(table, key),
            DeValue::Array(list) => {
                let element = key.parse().ok().and_then(|index: usize| list.get(index));
                element.map(|element| (element.span(), element.get_ref()))
            }
            _ => None,
        };
        let Some(found) = found else { break };
        (span, value) = found;
    }
    Some(span)
}

fn find<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<(Range<usize>, &'a DeValue<'i>)> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    Some((key.span(), value.get_ref()))
}
