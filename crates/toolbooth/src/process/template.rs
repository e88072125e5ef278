//! Templates with placeholders. Pure.

use serde_json::{Map, Number, Value};
use toolbooth_core::ToolError;

use crate::middleware::ConfigError;

/// A text in which `{name}` is replaced by an argument of the call, and `{{` and `}}` by a brace.
///
/// Values are not parsed again: a brace, a quote or a blank in an argument has no meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Argument(String),
}

// === impl Template ===

impl Template {
    pub(super) fn parse(template: &str) -> Result<Self, ConfigError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((name, after)) = placeholder(brace) {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Argument(name.to_owned()));
                rest = after;
            } else {
                return Err(ConfigError::MalformedTemplate {
                    template: template.into(),
                    at: template.len() - brace.len(),
                });
            }
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        Ok(Self(parts))
    }

    /// Returns the text for one call.
    pub(super) fn fill(&self, args: &Map<String, Value>) -> Result<String, ToolError> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Argument(name) => filled.push_str(&to_text(name, args.get(name))?),
            }
        }
        Ok(filled)
    }

    /// Returns the names of the arguments that are filled in.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Returns whether it is this text, without a placeholder.
    pub(super) fn is_literal(&self, text: &str) -> bool {
        matches!(self.0.as_slice(), [Part::Text(literal)] if literal == text)
    }

    /// Returns the name of the argument that the text begins with.
    pub(super) fn first_name(&self) -> Option<&str> {
        let mut parts = self.0.iter();
        match parts.find(|part| !matches!(part, Part::Text(text) if text.is_empty()))? {
            Part::Argument(name) => Some(name),
            Part::Text(_) => None,
        }
    }

    /// Returns the longest text among the arguments of the call that are filled in, with its name.
    pub(super) fn longest<'a>(&'a self, args: &'a Map<String, Value>) -> Option<(&'a str, usize)> {
        let filled = self.0.iter().filter_map(|part| match part {
            Part::Argument(name) => Some((name.as_str(), args.get(name)?.as_str()?.len())),
            Part::Text(_) => None,
        });
        filled.max_by_key(|(_, length)| *length)
    }

    /// Like [`fill`](Self::fill), but rejects a NUL: it would end the argument of a program.
    pub(super) fn fill_argument(&self, args: &Map<String, Value>) -> Result<String, ToolError> {
        let with_nul = self.0.iter().find_map(|part| match part {
            Part::Argument(name) if args.get(name)?.as_str()?.contains('\0') => Some(name),
            _ => None,
        });
        match with_nul {
            Some(name) => Err(ToolError::invalid_arguments(
                name.as_str(),
                "an argument of a program cannot contain NUL",
            )),
            None => self.fill(args),
        }
    }
}

/// Returns the name in `{name}`, and the text after it.
fn placeholder(brace: &str) -> Option<(&str, &str)> {
    let (name, after) = brace.strip_prefix('{')?.split_once('}')?;
    let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!name.is_empty() && name.chars().all(is_allowed)).then_some((name, after))
}

fn to_text(name: &str, value: Option<&Value>) -> Result<String, ToolError> {
    let found = match value {
        Some(Value::String(text)) => return Ok(text.clone()),
        Some(Value::Number(number)) => return Ok(number_text(number)),
        Some(Value::Bool(flag)) => return Ok(flag.to_string()),
        Some(Value::Null) => "null",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
        None => return Err(ToolError::invalid_arguments(name, "missing")),
    };
    let message = format!("{found}, expected a string, a number or a boolean");
    Err(ToolError::invalid_arguments(name, message))
}

/// Returns the text of a number. One with a zero fraction is an integer, as in JSON Schema.
fn number_text(number: &Number) -> String {
    /// Above, a float does not represent each integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        // The sum is 0 for -0.
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            format!("{:.0}", float + 0.0)
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str, args: Value) -> Result<String, ToolError> {
        let Value::Object(args) = args else {
            unreachable!("the tests pass objects");
        };
        Template::parse(template).unwrap().fill_argument(&args)
    }

    #[test]
    fn placeholders_are_replaced_and_doubled_braces_are_braces() {
        let args = json!({ "a": "x", "b-2": 2.5, "c.d": true });
        for (template, text) in [
            ("", ""),
            ("plain", "plain"),
            ("{a}", "x"),
            ("--in={a}:{b-2}/{c.d}", "--in=x:2.5/true"),
            ("{{a}}", "{a}"),
            ("{{{a}}}", "{x}"),
            ("{{print $1}}", "{print $1}"),
            ("ä{a}ö", "äxö"),
        ] {
            assert_eq!(filled(template, args.clone()).unwrap(), text, "{template}");
        }
    }

    /// Case D1. As in JSON Schema.
    #[test]
    fn number_with_a_zero_fraction_is_an_integer() {
        for (number, text) in [
            (json!(2.0), "2"),
            (json!(-7.0), "-7"),
            (json!(-0.0), "0"),
            (json!(3e5), "300000"),
            (json!(30.5), "30.5"),
            (json!(1e300), "1e+300"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(filled("{n}", json!({ "n": number })).unwrap(), text);
        }
    }

    #[test]
    fn values_are_not_parsed_as_templates() {
        let args = json!({ "a": "{b} {{ $(b) ;rm '\"\n", "b": "no" });
        assert_eq!(filled("{a}", args).unwrap(), "{b} {{ $(b) ;rm '\"\n");
    }

    #[test]
    fn malformed_template_is_rejected_with_its_position() {
        for (template, at) in [
            ("{", 0),
            ("a}", 1),
            ("{}", 0),
            ("{a", 0),
            ("{{{", 2),
            ("{a}}", 3),
            ("äb{c d}", 3),
            ("{a{b}}", 0),
        ] {
            let error = Template::parse(template).unwrap_err();
            let template = template.into();
            assert_eq!(error, ConfigError::MalformedTemplate { template, at });
        }
    }

    #[test]
    fn error_of_an_unusable_argument_has_its_name() {
        for (args, message) in [
            (json!({}), "missing"),
            (
                json!({ "a": null }),
                "null, expected a string, a number or a boolean",
            ),
            (
                json!({ "a": [1] }),
                "an array, expected a string, a number or a boolean",
            ),
            (
                json!({ "a": {} }),
                "an object, expected a string, a number or a boolean",
            ),
            (
                json!({ "a": "x\0y" }),
                "an argument of a program cannot contain NUL",
            ),
        ] {
            let error = filled("x{a}", args).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid arguments at `a`: {message}")
            );
        }
    }
}
