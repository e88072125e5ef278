//! The page: one HTML file without references to others.

use crate::Timeline;

const TEMPLATE: &str = include_str!("../../assets/page.html");
const STYLE: &str = include_str!("../../assets/style.css");
const SCRIPT: &str = concat!(
    "(() => {\n'use strict';\n",
    include_str!("../../assets/app/format.js"),
    include_str!("../../assets/app/model.js"),
    include_str!("../../assets/app/view.js"),
    include_str!("../../assets/app/paint.js"),
    include_str!("../../assets/app/strip.js"),
    include_str!("../../assets/app/lanes.js"),
    include_str!("../../assets/app/table.js"),
    include_str!("../../assets/app/details.js"),
    include_str!("../../assets/app/input.js"),
    include_str!("../../assets/app/live.js"),
    include_str!("../../assets/app/main.js"),
    "})();\n",
);

/// What the page may do: run its own script and style. The hashes are those of [`SCRIPT`] and
/// [`STYLE`]; the tests below compute them.
macro_rules! policy {
    ($connect:literal) => {
        concat!(
            "default-src 'none'; ",
            "script-src 'sha256-dBvdyzkyHsx96RRe06WwcGPQHCyQZZvfJ7/VZyHc+bo='; ",
            "style-src 'sha256-9niP6J5aGoEe/BvXp0KMZnriqKIlEge4pT5sLUp80d8='; ",
            "img-src data:; connect-src ",
            $connect,
            "; base-uri 'none'; form-action 'none'"
        )
    };
}

/// The policy of a file, which makes no requests.
const FILE_POLICY: &str = policy!("'none'");
/// The policy of a served page, which requests the feed.
#[cfg(any(feature = "http", test))]
pub(crate) const SERVED_POLICY: &str = policy!("'self'");

// === impl Timeline ===

impl Timeline {
    /// Returns the timeline as an HTML page: one file that makes no requests.
    ///
    /// All that comes from calls is escaped. The size is about 70 kB and 500 bytes for each call.
    ///
    /// ```
    /// let timeline = toolbooth_timeline::Recorder::new().snapshot();
    /// assert!(timeline.to_html().starts_with("<!doctype html>"));
    /// ```
    #[must_use]
    pub fn to_html(&self) -> String {
        fill(FILE_POLICY, "", &escaped(&self.to_json()))
    }
}

/// Returns the page that shows the feed of the service beside it.
#[cfg(feature = "http")]
pub(crate) fn live() -> String {
    fill(SERVED_POLICY, " data-live", "{}")
}

fn fill(policy: &str, live: &str, feed: &str) -> String {
    let parts = [
        ("{{live}}", live),
        ("{{policy}}", policy),
        ("{{style}}", STYLE),
        ("{{feed}}", feed),
        ("{{script}}", SCRIPT),
    ];
    let mut html = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + feed.len());
    let mut rest = TEMPLATE;
    for (marker, text) in parts {
        if let Some((before, after)) = rest.split_once(marker) {
            html.push_str(before);
            html.push_str(text);
            rest = after;
        }
    }
    html.push_str(rest);
    html
}

/// Escapes JSON for a `script` element. These characters occur in its strings only.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + json.len() / 64);
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::{FILE_POLICY, SCRIPT, SERVED_POLICY, STYLE, escaped, fill};

    #[test]
    fn policy_has_the_hashes_of_script_and_style() {
        for (name, text) in [("script-src", SCRIPT), ("style-src", STYLE)] {
            let hash = STANDARD.encode(Sha256::digest(text));
            let source = format!("{name} 'sha256-{hash}'");
            assert!(FILE_POLICY.contains(&source), "write {source}");
            assert!(SERVED_POLICY.contains(&source), "write {source}");
        }
    }

    #[test]
    fn page_refers_to_no_other_file() {
        let page = fill(FILE_POLICY, "", "{}");
        assert!(!page.contains("{{"), "each marker is replaced");
        for reference in ["src=", "@import", "url(", "https://", "import("] {
            assert!(!page.contains(reference), "{reference}");
        }
        // The name of the namespace of SVG is no address of a request.
        assert_eq!(page.matches("http://").count(), 1);
    }

    #[test]
    fn feed_cannot_leave_its_element() {
        let json = r#"{"tool":"</script><!--<script>&\u2028"}"#;
        let json = format!("{json}\u{2028}\u{2029}").replace('}', "\u{2028}\u{2029}\"}");
        let text = escaped(&json);
        for c in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
            assert!(!text.contains(c), "{c:?}");
        }
    }

    #[test]
    fn escaped_feed_is_the_same_json() -> Result<(), serde_json::Error> {
        let json = serde_json::json!(["</script>", "a & b > c", "\u{2028}\u{2029}", "\\u003c"]);
        assert_eq!(
            serde_json::from_str::<Value>(&escaped(&json.to_string()))?,
            json
        );
        Ok(())
    }
}
