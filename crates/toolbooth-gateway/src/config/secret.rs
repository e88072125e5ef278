//! Texts that may be secret, and variables of the environment in them.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// A text that may be secret: neither `Debug` nor an error shows it.
///
/// ```
/// use toolbooth_gateway::config::Secret;
///
/// let token = Secret::new("ghp_1234");
/// assert_eq!(format!("{token:?}"), "Secret(..)");
/// assert_eq!(token.expose(), "ghp_1234");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// A text of the file in which `${NAME}` stands for a variable of the environment, and `$${` for
/// `${`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Template(pub(super) String);

/// Returns the value of a variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Secret ===

impl Secret {
    /// Creates a secret of its text.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

// === impl Template ===

impl Template {
    /// Returns the text with the values of its variables.
    pub(super) fn resolve(&self, environment: Environment<'_>) -> Result<Secret, String> {
        self.fill(environment, |value| value).map(Secret::new)
    }

    /// Returns the text with the values of its variables, which `convert` converts.
    pub(super) fn fill(
        &self,
        environment: Environment<'_>,
        convert: impl Fn(String) -> String,
    ) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('$') {
            let (before, dollar) = rest.split_at(at);
            filled.push_str(before);
            rest = if let Some(after) = dollar.strip_prefix("$${") {
                filled.push_str(&convert("${".to_owned()));
                after
            } else if let Some(after) = dollar.strip_prefix("${") {
                let (name, after) = variable(after).ok_or(
                    "`${` begins a variable such as `${HOME}`, of letters, digits and `_`; \
                     write `$${` for these characters",
                )?;
                let value = environment(name)
                    .ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
                filled.push_str(&convert(value));
                after
            } else {
                filled.push('$');
                &dollar[1..]
            };
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Returns the name before the brace, and the text after it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.split_once('}')?;
    let is_name = |name: &str| {
        let all = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        all && name
            .bytes()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
    };
    is_name(name).then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let environment = |name: &str| match name {
            "TOKEN" => Some("t${HOME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Template(text.to_owned()).fill(&environment, |value| value)
    }

    #[test]
    fn variables_are_replaced_once_and_a_doubled_dollar_is_literal() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${TOKEN}", "t${HOME}"),
            ("a${TOKEN}b${EMPTY}c", "at${HOME}bc"),
            ("$${TOKEN}", "${TOKEN}"),
            ("$TOKEN $ $$", "$TOKEN $ $$"),
            ("ä$", "ä$"),
        ] {
            assert_eq!(filled(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn missing_or_malformed_variable_is_an_error_without_the_text() {
        assert_eq!(
            filled("secret ${GONE}").unwrap_err(),
            "the environment variable `GONE` is not set"
        );
        for text in [
            "secret ${",
            "secret ${}",
            "secret ${a b}",
            "secret ${1}",
            "${TOKEN",
        ] {
            let error = filled(text).unwrap_err();
            assert!(error.starts_with("`${` begins a variable"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
