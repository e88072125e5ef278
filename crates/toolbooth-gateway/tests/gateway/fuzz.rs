//! Files with random changes: reading one ends with settings or with an error that has a place.
//!
//! It reads 3,000 files. `FUZZ_SECONDS=60 cargo test -p toolbooth-gateway fuzz` reads files for a
//! minute, and prints how many.

use std::time::Duration;

use tokio::time::Instant;
use toolbooth_gateway::config::Config;

/// Parts that are inserted: syntax of TOML, keys, and values at the end of a range.
const PARTS: [&str; 40] = [
    "[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "'",
    "\n",
    ".",
    ",",
    "#",
    "\\",
    "\0",
    "ä",
    "${",
    "${A}",
    "$${",
    "{a}",
    "{{",
    "*",
    "none",
    "-1",
    "0",
    "1e309",
    "9223372036854775807",
    "nan",
    "true",
    "1979-05-27",
    "\"\"\"",
    "[[",
    "upstreams",
    "tools",
    "policies",
    "prefix",
    "command",
    "input",
    "default",
    "optional",
    "\"30s\"",
    "token_sha256",
];

const FULL: &str = "\
[upstreams.a]
command = [\"a\", \"${A}\"]
env = { B = \"${A}\" }
prefix = \"a_\"
[upstreams.b]
url = \"https://example.com/mcp\"
bearer = \"${A}\"
prefix = \"b_\"
[tools.t]
command = [\"t\", [\"--n\", \"{n}\"], \"--\", \"{p}\"]
input = { p = { description = \"p\" }, n = { type = \"integer\", optional = true } }
[policies.default]
timeout = \"30s\"
[policies.groups.g]
tools = [\"a_*\", \"t\"]
rate = [\"10/s\", { per_hour = 5, burst = 2 }]
[listen]
http = \"127.0.0.1:8808\"
[tenants.x]
token_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"
rate = \"1/s\"
[admin]
listen = \"127.0.0.1:8809\"
[shutdown]
grace = \"1s\"
";

/// A generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let end = u64::try_from(end.max(1)).expect("a length");
        usize::try_from(self.0 % end).expect("less than a length")
    }

    /// Changes a text at up to eight places.
    fn changed(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(8) {
            let at = self.below(chars.len() + 1);
            let end = (at + self.below(24)).min(chars.len());
            match self.below(4) {
                0 => drop(chars.drain(at..end)),
                1 => {
                    let part = PARTS[self.below(PARTS.len())];
                    drop(chars.splice(at..at, part.chars()));
                }
                2 => {
                    let copied = chars[at..end].to_vec();
                    let to = self.below(chars.len() + 1);
                    drop(chars.splice(to..to, copied));
                }
                _ => {
                    let part = PARTS[self.below(PARTS.len())];
                    drop(chars.splice(at..end, part.chars()));
                }
            }
        }
        chars.into_iter().collect()
    }
}

#[test]
fn fuzz_of_a_file_ends_with_settings_or_an_error_at_a_place() {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut correct) = (0_u64, 0_u64);
    while end.map_or(read < 3_000, |end| Instant::now() < end) {
        let text = random.changed(FULL);
        let result = Config::from_toml_with(&text, |name| (name == "A").then(|| "s3cret".into()));
        read += 1;
        match result {
            Ok(config) => {
                correct += 1;
                // A program is shown, also if its name is that of a variable.
                let shown = format!("{config:?}");
                let lines = shown.split(", ");
                let mut hidden = lines.filter(|line| !line.contains("program: \""));
                assert!(!hidden.any(|line| line.contains("s3cret")), "{text}");
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(!shown.contains("s3cret"), "{text}: {shown}");
                let lines = text.matches('\n').count() + 1;
                let is_placed = error.line().is_some_and(|line| line <= lines);
                assert!(
                    is_placed || shown.starts_with("there is no tool"),
                    "{text}: {shown}"
                );
            }
        }
    }
    assert!(correct > 0 && correct < read);
    println!("{read} files, {correct} of them correct");
}
