//! The text of an event.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{EventKind, LimitChange};

/// The maximum length of a text in characters.
const MAX_TEXT: usize = 64;

/// Writes ` name=text`.
pub(super) fn text(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    write!(f, " {name}=")?;
    word(f, text)
}

/// Writes a text, bounded and in quotes if it has spaces, with `?` for what a log cannot show.
pub(super) fn word(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains(' ') { "\"" } else { "" };
    f.write_str(quote)?;
    let mut chars = text.chars();
    for char in chars.by_ref().take(MAX_TEXT) {
        f.write_char(if is_shown(char) { char } else { '?' })?;
    }
    if chars.next().is_some() {
        f.write_char('…')?;
    }
    f.write_str(quote)
}

/// Returns whether a log can show the character: no control character or mark of direction.
fn is_shown(char: char) -> bool {
    let is_blank = char.is_whitespace() && char != ' ';
    let is_mark = matches!(
        char,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    );
    !(char == '"' || char.is_control() || is_blank || is_mark)
}

fn optional(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| text(f, name, value))
}

/// Writes a duration, rounded to three digits after the point of its unit or fewer.
fn time(f: &mut fmt::Formatter<'_>, name: &str, time: Duration) -> fmt::Result {
    write!(f, " {name}={:?}", rounded(time))
}

/// Rounds to milliseconds from one second on, and to microseconds below.
fn rounded(time: Duration) -> Duration {
    let unit: u128 = if time >= Duration::from_secs(1) {
        1_000_000
    } else {
        1_000
    };
    let up = u128::from(time.subsec_nanos()).saturating_add(unit / 2);
    let nanos = u64::try_from(up / unit * unit).unwrap_or(0);
    Duration::from_secs(time.as_secs()).saturating_add(Duration::from_nanos(nanos))
}

/// Writes the fields of the kind, without contents and texts of errors.
pub(super) fn fields(f: &mut fmt::Formatter<'_>, kind: &EventKind) -> fmt::Result {
    match kind {
        EventKind::Invoked { tenant, parent, .. } => {
            optional(f, "tenant", tenant.as_deref())?;
            optional(f, "parent", parent.as_deref())
        }
        EventKind::Queued { layer } => text(f, "layer", layer.as_str()),
        EventKind::Admitted { layer, waited } => {
            text(f, "layer", layer.as_str())?;
            time(f, "waited", *waited)
        }
        EventKind::Partial { bytes, .. } => write!(f, " bytes={bytes}"),
        EventKind::Progress(progress) => {
            write!(f, " done={}", progress.done())?;
            match progress.total() {
                Some(total) => write!(f, " total={total}"),
                None => Ok(()),
            }
        }
        EventKind::Retry {
            after,
            layer,
            error_type,
            ..
        } => {
            optional(f, "layer", layer.as_ref().map(|layer| layer.as_str()))?;
            optional(f, "error.type", error_type.as_deref())?;
            time(f, "after", *after)
        }
        EventKind::Expired { layer, limit } => {
            text(f, "layer", layer.as_str())?;
            time(f, "limit", *limit)
        }
        EventKind::CleanupStarted { hooks } | EventKind::CleanupAbandoned { hooks } => {
            write!(f, " hooks={hooks}")
        }
        EventKind::CleanupFinished { took } => time(f, "took", *took),
        EventKind::CleanupFailed { took, panicked } => {
            time(f, "took", *took)?;
            write!(f, " panicked={panicked}")
        }
        EventKind::BreakerChanged {
            layer,
            key,
            from,
            to,
            why,
        } => {
            text(f, "layer", layer.as_str())?;
            optional(f, "key", key.as_deref())?;
            write!(f, " from={from} to={to}")?;
            text(f, "why", why)
        }
        EventKind::LimitChanged { layer, change } => {
            text(f, "layer", layer.as_str())?;
            limit(f, change)
        }
        EventKind::Started | EventKind::FirstItem | EventKind::Heartbeat => Ok(()),
        _ => end(f, kind),
    }
}

/// Writes the fields of a terminal event.
fn end(f: &mut fmt::Formatter<'_>, kind: &EventKind) -> fmt::Result {
    match kind {
        EventKind::TimedOut { layer, limit, .. } => {
            optional(f, "layer", layer.as_ref().map(|layer| layer.as_str()))?;
            time(f, "limit", *limit)?;
        }
        EventKind::Cancelled { reason, .. } => text(f, "reason", reason.as_str())?,
        EventKind::Rejected {
            layer: Some(layer), ..
        } => text(f, "layer", layer.as_str())?,
        _ => {}
    }
    optional(f, "error.type", kind.error_type())?;
    match kind {
        EventKind::TimedOut { started, .. } | EventKind::Cancelled { started, .. } => {
            write!(f, " started={started}")
        }
        EventKind::Rejected {
            retry_after: Some(after),
            ..
        } => time(f, "retry_after", *after),
        _ => Ok(()),
    }
}

fn limit(f: &mut fmt::Formatter<'_>, change: &LimitChange) -> fmt::Result {
    match change {
        LimitChange::Set { key, limit } => {
            optional(f, "key", key.as_deref())?;
            text(f, "limit", limit.as_deref().unwrap_or("none"))
        }
        LimitChange::Queue { setting, value } => {
            text(f, setting, value.as_deref().unwrap_or("none"))
        }
        LimitChange::Overflow { keys } => write!(f, " full={keys}"),
        LimitChange::StoreLost { when_away } => {
            text(f, "store", "lost").and_then(|()| text(f, "when_away", when_away))
        }
        LimitChange::StoreFound => text(f, "store", "found"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;
    use crate::call::Name;
    use crate::error::{ErrorKind, LayerName, ToolError};
    use crate::outcome::CancelReason;

    fn line(kind: EventKind) -> String {
        let mut event = Event::of_layer(kind);
        event.tool = Some("search".into());
        event.call_id = Some("c1".into());
        event.attempt = 2;
        let line = event.to_string();
        let head = format!("{} search c1 #2", event.name());
        let fields = line.strip_prefix(&head);
        fields.expect("a head").trim_start().to_owned()
    }

    fn layer() -> LayerName {
        LayerName::new("database")
    }

    #[test]
    fn each_kind_writes_its_fields() {
        let ms = Duration::from_millis;
        let invoked = EventKind::Invoked {
            tenant: Some("acme".into()),
            parent: Some("c0".into()),
            parent_serial: None,
            deadline: None,
            arguments: None,
        };
        assert_eq!(line(invoked), "tenant=acme parent=c0");
        assert_eq!(line(EventKind::Queued { layer: layer() }), "layer=database");
        let waited = Duration::from_nanos(816_000_499);
        let admitted = EventKind::Admitted {
            layer: layer(),
            waited,
        };
        assert_eq!(line(admitted), "layer=database waited=816ms");
        assert_eq!(line(EventKind::Started), "");
        assert_eq!(line(EventKind::FirstItem), "");
        assert_eq!(line(EventKind::Heartbeat), "");
        let partial = EventKind::Partial {
            bytes: 9,
            content: None,
        };
        assert_eq!(line(partial), "bytes=9");
        let retry = EventKind::Retry {
            attempt: 2,
            after: ms(100),
            error: Some(ErrorKind::Timeout),
            layer: Some(layer()),
            error_type: Some("timeout".into()),
        };
        assert_eq!(line(retry), "layer=database error.type=timeout after=100ms");
        let expired = EventKind::Expired {
            layer: layer(),
            limit: ms(3_000),
        };
        assert_eq!(line(expired), "layer=database limit=3s");
        let hooks = EventKind::CleanupStarted { hooks: 2 };
        assert_eq!(line(hooks), "hooks=2");
        let hooks = EventKind::CleanupAbandoned { hooks: 1 };
        assert_eq!(line(hooks), "hooks=1");
        let took = Duration::from_nanos(1_999_999_999);
        assert_eq!(line(EventKind::CleanupFinished { took }), "took=2s");
        let failed = EventKind::CleanupFailed {
            took: ms(5),
            panicked: true,
        };
        assert_eq!(line(failed), "took=5ms panicked=true");
    }

    #[test]
    fn terminal_events_write_their_fields_without_the_text_of_the_error() {
        let completed = |is_error| EventKind::Completed {
            is_error,
            contents: None,
        };
        assert_eq!(line(completed(false)), "");
        assert_eq!(line(completed(true)), "error.type=tool_error");
        let failed = EventKind::of_error(&ToolError::failed("secret"));
        assert_eq!(line(failed), "error.type=tool_error");
        let timed_out = EventKind::TimedOut {
            layer: Some(layer()),
            limit: Duration::from_secs(3),
            overshoot: None,
            started: true,
            error: None,
        };
        assert_eq!(
            line(timed_out),
            "layer=database limit=3s error.type=timeout started=true"
        );
        let cancelled = EventKind::Cancelled {
            reason: CancelReason::CallerGone,
            started: false,
            error: None,
        };
        let reason = CancelReason::CallerGone.as_str();
        let expected = format!("reason={reason} error.type=cancelled started=false");
        assert_eq!(line(cancelled), expected);
        let rejected = EventKind::Rejected {
            layer: Some(layer()),
            why: ErrorKind::RateLimited,
            retry_after: Some(Duration::from_millis(500)),
            error: ToolError::rate_limited(Duration::from_millis(500)),
        };
        assert_eq!(
            line(rejected),
            "layer=database error.type=rate_limited retry_after=500ms"
        );
        let panicked = EventKind::Panicked { error: None };
        assert_eq!(line(panicked), "error.type=panicked");
    }

    #[test]
    fn changes_of_layers_write_their_fields() {
        let changed = EventKind::BreakerChanged {
            layer: layer(),
            key: Some("a".into()),
            from: "closed",
            to: "open",
            why: Name::from_static("failures"),
        };
        assert_eq!(
            line(changed),
            "layer=database key=a from=closed to=open why=failures"
        );
        let changed = |change| {
            line(EventKind::LimitChanged {
                layer: layer(),
                change,
            })
        };
        let set = LimitChange::Set {
            key: None,
            limit: Some("3 at once".into()),
        };
        assert_eq!(changed(set), "layer=database limit=\"3 at once\"");
        let queue = LimitChange::Queue {
            setting: "max_wait",
            value: None,
        };
        assert_eq!(changed(queue), "layer=database max_wait=none");
        let full = LimitChange::Overflow { keys: 7 };
        assert_eq!(changed(full), "layer=database full=7");
    }

    #[test]
    fn hostile_texts_stay_one_bounded_word() {
        let mut event = Event::of_layer(EventKind::Started);
        event.tool = Some("a\nb \u{202e}c".into());
        event.call_id = Some("x".repeat(1_000).into());
        let expected = format!("tool.started \"a?b ?c\" {}… #0", "x".repeat(64));
        assert_eq!(event.to_string(), expected);
    }
}
