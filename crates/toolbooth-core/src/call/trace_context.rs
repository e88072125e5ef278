//! The W3C trace context: <https://www.w3.org/TR/trace-context-1/>.

use std::fmt;

/// The position of a call in a distributed trace: the fields of W3C's [Trace Context].
///
/// A caller attaches it to a call. An events layer with a sink reads it from the headers
/// `traceparent` and `tracestate` of an `http::Request`, and provides it to everything inside. A
/// tool reads it to pass it on, and child calls inherit it. A program that records spans of its own
/// passes on the context of its current span instead, by its propagator.
///
/// ```
/// use serde_json::json;
/// use toolbooth_core::{ToolCall, TraceContext};
///
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace = TraceContext::parse(parent, Some("vendor=a1")).ok_or("not valid")?;
/// let call = ToolCall::new("search", json!(null)).with_extension(trace);
///
/// // In the tool:
/// let trace = call.context().extension::<TraceContext>().ok_or("attached above")?;
/// assert_eq!(trace.to_string(), parent);
/// assert_eq!((trace.tracestate(), trace.is_sampled()), ("vendor=a1", true));
/// # Ok::<_, &str>(())
/// ```
///
/// [Trace Context]: https://www.w3.org/TR/trace-context-1/
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
    state: Box<str>,
}

/// The length of a `traceparent` of version 0.
const LENGTH: usize = 55;

/// The maximum length of a `tracestate` in bytes. A longer one is discarded.
const MAX_STATE: usize = 4_096;

/// The maximum number of members of a `tracestate`.
const MAX_MEMBERS: usize = 32;

// === impl TraceContext ===

impl TraceContext {
    /// Parses the values of `traceparent` and `tracestate`.
    ///
    /// Returns `None` for a `traceparent` that the recommendation does not allow: the trace then
    /// starts anew. A `tracestate` that it does not allow, or of more than 4,096 bytes, is
    /// discarded alone. Of a version of the future, the fields of this version are read.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let (version, trace_id, parent_id, flags) = fields(traceparent.as_bytes())?;
        let is_valid = version != 0xff && trace_id != 0 && parent_id != 0;
        let is_known = version != 0 || traceparent.len() == LENGTH;
        if !(is_valid && is_known) {
            return None;
        }
        let state = tracestate.filter(|state| is_state(state));
        Some(Self {
            trace_id,
            parent_id: u64::try_from(parent_id).ok()?,
            flags: u8::try_from(flags).ok()?,
            state: state.unwrap_or_default().into(),
        })
    }

    /// Reads the headers `traceparent` and `tracestate`, as [`parse`](Self::parse).
    ///
    /// Several headers `traceparent` are not valid. Several `tracestate` are one list, and more
    /// than 32 are discarded.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn from_headers(headers: &http::HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all("traceparent").iter();
        let parent = parents.next()?.to_str().ok()?;
        if parents.next().is_some() {
            return None;
        }
        let states = headers.get_all("tracestate").iter();
        let states: Result<Vec<_>, _> = states.take(MAX_MEMBERS + 1).map(|s| s.to_str()).collect();
        let states = states.ok().filter(|states| states.len() <= MAX_MEMBERS);
        Self::parse(parent, states.map(|states| states.join(",")).as_deref())
    }

    /// Returns the id of the trace. Not 0.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// Returns the id of the span that made the call. Not 0.
    #[must_use]
    pub const fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Returns the flags. Bit 0 is [`is_sampled`](Self::is_sampled).
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns whether the caller may have recorded its part of the trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Returns the value of `tracestate`, empty without one.
    #[must_use]
    pub const fn tracestate(&self) -> &str {
        &self.state
    }
}

/// The value of `traceparent`, of version 0.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the flags that this version defines.
        let flags = self.flags & 1;
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.parent_id
        )
    }
}

/// Returns the version and the fields that each version begins with.
fn fields(text: &[u8]) -> Option<(u128, u128, u128, u128)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let dashes = [2, 35, 52];
    let is_separated =
        dashes.iter().all(|at| known[*at] == b'-') && !matches!(rest, [next, ..] if *next != b'-');
    let fields = (
        hex(&known[..2])?,
        hex(&known[3..35])?,
        hex(&known[36..52])?,
        hex(&known[53..])?,
    );
    is_separated.then_some(fields)
}

/// Reads lower-case hexadecimal digits, 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Returns whether this is a list of members with different keys.
fn is_state(state: &str) -> bool {
    if state.len() > MAX_STATE {
        return false;
    }
    let mut keys = Vec::new();
    for member in state.split(',') {
        // Empty members are allowed, and so are spaces and tabs around members.
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_MEMBERS {
            return false;
        }
        keys.push(key);
    }
    true
}

/// Returns whether this is the key of a vendor, or of a tenant of a vendor.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        None => is_part(key, 256, false),
        Some((tenant, system)) => is_part(tenant, 241, true) && is_part(system, 14, false),
    }
}

fn is_part(part: &str, max: usize, may_begin_with_digit: bool) -> bool {
    let begins =
        |first: u8| first.is_ascii_lowercase() || may_begin_with_digit && first.is_ascii_digit();
    let continues =
        |next: &u8| next.is_ascii_lowercase() || next.is_ascii_digit() || b"_-*/".contains(next);
    let bytes = part.as_bytes();
    let Some((first, rest)) = bytes.split_first() else {
        return false;
    };
    bytes.len() <= max && begins(*first) && rest.iter().all(continues)
}

/// Returns whether this is printable ASCII but for `,` and `=`, of 1 to 256 bytes. The spaces at
/// the end of a member are trimmed already.
fn is_value(value: &str) -> bool {
    let is_printable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn state_of(state: &str) -> String {
        let trace = TraceContext::parse(PARENT, Some(state)).expect("a valid parent");
        trace.tracestate().to_owned()
    }

    #[test]
    fn a_traceparent_is_read_and_written() {
        let trace = TraceContext::parse(PARENT, None).expect("valid");
        assert_eq!(trace.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(trace.parent_id(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!((trace.flags(), trace.is_sampled()), (1, true));
        assert_eq!(
            (trace.to_string().as_str(), trace.tracestate()),
            (PARENT, "")
        );
    }

    #[test]
    fn a_traceparent_that_the_recommendation_forbids_is_ignored() {
        let zeros = |count| "0".repeat(count);
        for invalid in [
            String::new(),
            PARENT[..54].into(),
            format!("{PARENT}0"),
            format!("{PARENT}-00"),
            PARENT.to_uppercase(),
            PARENT.replacen("00-", "ff-", 1),
            PARENT.replacen("00-", "0g-", 1),
            PARENT.replacen('-', "_", 1),
            format!("00-{}-00f067aa0ba902b7-01", zeros(32)),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", zeros(16)),
            format!(" {PARENT}"),
            "é".repeat(40),
        ] {
            assert_eq!(TraceContext::parse(&invalid, None), None, "{invalid}");
        }
    }

    #[test]
    fn of_a_later_version_the_known_fields_are_read() {
        for later in ["cc-", "01-"] {
            let later = PARENT.replacen("00-", later, 1);
            for more in ["", "-what-follows"] {
                let trace = TraceContext::parse(&format!("{later}{more}"), None).expect("valid");
                assert_eq!(trace.to_string(), PARENT);
            }
            assert_eq!(TraceContext::parse(&format!("{later}.more"), None), None);
        }
        // Flags of the future are not passed on.
        let flags = PARENT.replace("-01", "-fe");
        let trace = TraceContext::parse(&flags, None).expect("valid");
        assert_eq!((trace.flags(), trace.is_sampled()), (0xfe, false));
        assert!(trace.to_string().ends_with("-00"));
    }

    #[test]
    fn a_tracestate_that_the_recommendation_forbids_is_discarded_alone() {
        let key = |len| "k".repeat(len);
        let members = |count| {
            (0..count)
                .map(|n| format!("k{n}=v"))
                .collect::<Vec<_>>()
                .join(",")
        };
        for valid in [
            "a=1",
            "a=1,b=2",
            "a=1, ,\tb=2 ,",
            "3tenant@vendor=x y",
            "a_-*/9=!~",
            &format!("{}={}", key(256), key(256)),
            &format!("{}@{}=v", key(241), key(14)),
            &members(32),
        ] {
            assert_eq!(state_of(valid), valid);
        }
        for invalid in [
            "a",
            "a=",
            "=1",
            "A=1",
            "1a=1",
            "a=1,a=2",
            "a=b=c",
            "a=\u{e9}",
            "a=1\n",
            "a@=1",
            "@b=1",
            "a@b@c=1",
            "a@1b=1",
            &format!("{}=v", key(257)),
            &format!("a={}", key(257)),
            &format!("{}@v=v", key(242)),
            &format!("t@{}=v", key(15)),
            &members(33),
            &" ".repeat(4_097),
        ] {
            assert_eq!(state_of(invalid), "", "{invalid}");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn headers_of_several_lines_are_read_as_the_recommendation_says() {
        let read = |parents: &[&str], states: &[&str]| {
            let mut headers = http::HeaderMap::new();
            for (name, values) in [("traceparent", parents), ("tracestate", states)] {
                for value in values {
                    headers.append(name, value.parse().expect("a value"));
                }
            }
            TraceContext::from_headers(&headers).map(|trace| trace.tracestate().to_owned())
        };
        assert_eq!(read(&[PARENT], &["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(read(&[PARENT], &[]).as_deref(), Some(""));
        let empty = [""; 31];
        let most = [&empty[..], &["a=1"]].concat();
        let most_read = format!("{}a=1", ",".repeat(31));
        assert_eq!(read(&[PARENT], &most), Some(most_read));
        // The last member would be lost.
        let too_many = [&empty[..], &["a=1", "b=2"]].concat();
        assert_eq!(read(&[PARENT], &too_many).as_deref(), Some(""));
        assert_eq!(read(&[PARENT], &["é"]).as_deref(), Some(""));
        assert_eq!(read(&[PARENT, PARENT], &[]), None);
        assert_eq!(read(&[], &["a=1"]), None);
    }
}
