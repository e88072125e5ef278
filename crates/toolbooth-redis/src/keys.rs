//! The names of keys, members and channels on the server.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use toolbooth::shared::Holder;

/// The longest text of a name, in bytes. Of a longer one, half and a digest are used.
const MAX_LEN: usize = 200;

/// The keys of a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

// === impl Keys ===

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: bounded(prefix),
        }
    }

    /// Returns the key of the bucket of a rate limit.
    pub(crate) fn bucket(&self, limit: &str) -> String {
        self.of_limit(limit, "bucket")
    }

    /// Returns the keys of a concurrency limit, which are in one slot of a cluster.
    pub(crate) fn permits(&self, limit: &str) -> [String; 3] {
        ["leases", "waiting", "state"].map(|part| self.of_limit(limit, part))
    }

    /// Returns the key of the processes that are alive.
    pub(crate) fn processes(&self) -> String {
        format!("{}:processes", self.prefix)
    }

    /// Returns the channel on which a process is notified.
    pub(crate) fn channel(&self, process: &str) -> String {
        format!("{}{}", self.channels(), bounded(process))
    }

    /// Returns what precedes the process in the name of its channel.
    pub(crate) fn channels(&self) -> String {
        format!("{}:notify:", self.prefix)
    }

    /// The braces select the slot: all keys of one limit are in the same.
    fn of_limit(&self, limit: &str, part: &str) -> String {
        format!("{}:{{{}}}:{part}", self.prefix, bounded(limit))
    }
}

/// Returns the name of a holder in sorted sets and fields. The script that notifies it reads both
/// parts.
pub(crate) fn member(holder: &Holder) -> String {
    format!("{}:{}", holder.number, bounded(&holder.process))
}

/// Returns the process and the number of a holder from its name.
pub(crate) fn parse_member(member: &str) -> Option<(&str, u64)> {
    let (number, process) = member.split_once(':')?;
    Some((process, number.parse().ok()?))
}

/// Returns a text for a name: unique, bounded, and without braces, which select slots.
pub(crate) fn bounded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            '%' => text.push_str("%25"),
            '{' => text.push_str("%7B"),
            '}' => text.push_str("%7D"),
            char => text.push(char),
        }
    }
    // An empty pair of braces selects no slot.
    if text.is_empty() {
        text.push('%');
    }
    if text.len() > MAX_LEN {
        while text.len() > MAX_LEN / 2 {
            text.pop();
        }
        // No other text has these two characters in a row.
        text.push_str("%~");
        for byte in Sha256::digest(name.as_bytes()) {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_limit_are_in_one_slot() {
        let keys = Keys::new("app");
        assert_eq!(keys.bucket("github"), "app:{github}:bucket");
        assert_eq!(
            keys.permits("github"),
            [
                "app:{github}:leases",
                "app:{github}:waiting",
                "app:{github}:state"
            ]
        );
        assert_eq!(keys.processes(), "app:processes");
        assert_eq!(keys.channel("a1"), "app:notify:a1");
    }

    #[test]
    fn braces_do_not_select_another_slot() {
        let keys = Keys::new("{a}");
        assert_eq!(keys.bucket("x}{y%7D"), "%7Ba%7D:{x%7D%7By%257D}:bucket");
        assert_eq!(keys.bucket(""), "%7Ba%7D:{%}:bucket");
        assert_ne!(keys.bucket(""), keys.bucket("%"));
    }

    #[test]
    fn long_names_are_bounded_and_differ() {
        let long = "ä".repeat(100_000);
        let (one, other) = (bounded(&long), bounded(&format!("{long}b")));
        assert_eq!(one.len(), 100 + 2 + 64);
        assert_eq!(one.len(), other.len());
        assert_ne!(one, other);
        assert_eq!(bounded(&"{".repeat(200)).len(), 100 + 2 + 64);
        assert_eq!(bounded(&"a".repeat(200)), "a".repeat(200));
    }

    #[test]
    fn member_is_read_back() {
        let holder = Holder {
            process: "a:b".into(),
            number: 7,
        };
        assert_eq!(member(&holder), "7:a:b");
        assert_eq!(parse_member("7:a:b"), Some(("a:b", 7)));
        assert_eq!(parse_member("a"), None);
        assert_eq!(parse_member("a:b"), None);
    }
}
