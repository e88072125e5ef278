//! The JSON of a problem.

use serde::ser::{Serialize, SerializeMap, Serializer};
use toolbooth::{Name, Partial, ToolError};

use super::Problem;

/// The `type` of a problem that the status and the other members describe.
const ABOUT_BLANK: &str = "about:blank";

/// The reason phrase of nginx's status for a client that closed its request.
const CLIENT_CLOSED_REQUEST: &str = "Client Closed Request";

/// The members that this module writes, and `with_member` does not replace.
const OWN: [&str; 13] = [
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "kind",
    "tool",
    "call_id",
    "started",
    "retryable",
    "retry_after_ms",
    "nearest",
    "partial",
];

/// A problem with or without the partial result of its call.
struct Members<'a> {
    problem: &'a Problem,
    partial: Option<&'a Partial>,
}

// === impl Problem ===

impl Problem {
    /// Returns the JSON. Without the partial result, if that nests too deep to be written.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let with = |partial| {
            let problem = self;
            serde_json::to_vec(&Members { problem, partial })
        };
        let json = with(self.partial()).or_else(|_| with(None));
        json.unwrap_or_else(|_| b"{}".to_vec())
    }

    fn partial(&self) -> Option<&Partial> {
        self.error()?.partial()
    }

    fn title(&self) -> &'static str {
        let phrase = self.status().canonical_reason();
        phrase.unwrap_or(CLIENT_CLOSED_REQUEST)
    }
}

/// Fails for a partial result that nests too deep. The response then leaves it out.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let partial = self.partial();
        let problem = self;
        Members { problem, partial }.serialize(serializer)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = &*self.problem.0;
        let mut map = serializer.serialize_map(None)?;
        let type_uri = fields.type_uri.as_deref().unwrap_or(ABOUT_BLANK);
        map.serialize_entry("type", type_uri)?;
        map.serialize_entry("title", self.problem.title())?;
        map.serialize_entry("status", &fields.status.as_u16())?;
        map.serialize_entry("detail", &fields.detail)?;
        if let Some(instance) = &fields.instance {
            map.serialize_entry("instance", instance)?;
        }
        map.serialize_entry("kind", fields.kind)?;
        if let Some(error) = &fields.error {
            self.serialize_error::<S>(&mut map, error)?;
        }
        for (name, value) in &fields.members {
            if !OWN.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

// === impl Members ===

impl Members<'_> {
    fn serialize_error<S: Serializer>(
        &self,
        map: &mut S::SerializeMap,
        error: &ToolError,
    ) -> Result<(), S::Error> {
        if let Some(tool) = error.tool() {
            map.serialize_entry("tool", tool)?;
        }
        if let Some(call_id) = error.call_id() {
            map.serialize_entry("call_id", call_id)?;
        }
        map.serialize_entry("started", &error.started())?;
        map.serialize_entry("retryable", &error.is_retryable())?;
        if let Some(wait) = error.retry_after() {
            let millis = wait.as_nanos().div_ceil(1_000_000);
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            map.serialize_entry("retry_after_ms", &millis)?;
        }
        if let ToolError::UnknownTool { nearest, .. } = error {
            let nearest: Vec<&str> = nearest.iter().map(Name::as_str).collect();
            if !nearest.is_empty() {
                map.serialize_entry("nearest", &nearest)?;
            }
        }
        if let Some(partial) = self.partial {
            map.serialize_entry("partial", partial)?;
        }
        Ok(())
    }
}
