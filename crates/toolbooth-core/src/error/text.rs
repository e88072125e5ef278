//! Parts of the messages.

use std::fmt;
use std::time::Duration;

use super::{LayerName, Origin, TimeoutScope, Waited};
use crate::call::Name;

/// The maximum number of days that a duration is written as.
const MAX_DAYS: u128 = 1_000;

/// The maximum number of characters of a path or a name.
const MAX_NAME: usize = 128;

/// The maximum number of characters of what is wrong with arguments.
const MAX_MESSAGE: usize = 512;

/// A layer's name between two texts, or nothing.
struct Around<'a>(&'static str, Option<&'a LayerName>, &'static str);

impl fmt::Display for Around<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(before, Some(layer), after) => write!(f, "{before}`{layer}`{after}"),
            Self(_, None, _) => Ok(()),
        }
    }
}

pub(super) fn of_layer(origin: &Origin) -> impl fmt::Display {
    Around(" of ", origin.layer(), "")
}

/// The layer that made an error, and its limit.
struct ByLayer<'a>(&'a Origin);

impl fmt::Display for ByLayer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.layer(), self.0.limit()) {
            (Some(layer), Some(limit)) => write!(f, " (by `{layer}`, limit: {})", limit.as_str()),
            (Some(layer), None) => write!(f, " (by `{layer}`)"),
            (None, _) => Ok(()),
        }
    }
}

pub(super) fn by_layer(origin: &Origin) -> impl fmt::Display {
    ByLayer(origin)
}

/// Names that are similar to an unknown one, or nothing.
struct Nearest<'a>(&'a [Name]);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            let before = match position {
                0 => ", did you mean ",
                _ if position + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}`{name}`")?;
        }
        match self.0.is_empty() {
            true => Ok(()),
            false => f.write_str("?"),
        }
    }
}

pub(super) fn nearest_names(names: &[Name]) -> impl fmt::Display {
    Nearest(names)
}

/// Where the call waited.
struct Waiting<'a>(Option<&'a Waited>);

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Waited::Queue(layer)) => write!(f, " while waiting in the queue of `{layer}`"),
            Some(Waited::Attempt(number, policy)) => {
                write!(f, " while waiting for attempt {number} of `{policy}`")
            }
            None => Ok(()),
        }
    }
}

pub(super) fn waiting(origin: &Origin) -> impl fmt::Display {
    Waiting(origin.waited())
}

/// Truncates to milliseconds, the resolution of tokio's timers. Shorter durations stay unchanged.
pub(super) fn millis(duration: Duration) -> Duration {
    match duration.as_millis() {
        0 => duration,
        _ => Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000),
    }
}

/// Rounds the limit of a deadline up: it is the time that was left. Other limits are settings.
pub(super) fn shown_limit(scope: TimeoutScope, limit: Duration) -> Duration {
    match scope {
        TimeoutScope::Deadline => millis_up(limit),
        _ => limit,
    }
}

/// Why a circuit is open.
pub(super) fn open_text(reason: Option<&str>) -> String {
    reason.map_or_else(|| "the circuit is open".to_owned(), bounded_message)
}

pub(super) fn retry_text(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(retry_after) => format!("retry after {:?}", millis_up(retry_after)),
        None => "and the time to retry is not known".to_owned(),
    }
}

/// Rounds up to milliseconds, so that a retry after this time is not too early.
pub(super) fn millis_up(duration: Duration) -> Duration {
    let up = duration.saturating_add(Duration::from_nanos(999_999));
    Duration::new(up.as_secs(), up.subsec_millis() * 1_000_000)
}

/// Writes a duration for a reader, rounded down: `250 ms`, `1.5 s`, `90 s`, `3 min`, `20 h`.
pub(super) fn spoken_down(duration: Duration) -> String {
    spoken(duration, |dividend, divisor| dividend / divisor)
}

/// Writes a duration for a reader, rounded up, so that a retry after this time is not too early.
pub(super) fn spoken_up(duration: Duration) -> String {
    spoken(duration, u128::div_ceil)
}

fn spoken(duration: Duration, divide: fn(u128, u128) -> u128) -> String {
    let millis = divide(duration.as_nanos(), 1_000_000);
    let tenths = divide(millis, 100);
    match duration.as_secs() {
        0 if millis < 1_000 => format!("{millis} ms"),
        0..120 if tenths % 10 == 0 => format!("{} s", tenths / 10),
        0..120 => format!("{}.{} s", tenths / 10, tenths % 10),
        120..7_200 => format!("{} min", divide(millis, 60_000)),
        7_200..172_800 => format!("{} h", divide(millis, 3_600_000)),
        _ => format!("{} days", divide(millis, 86_400_000).min(MAX_DAYS)),
    }
}

/// Returns the start of a name or a path, which the client may have sent.
pub(super) fn bounded_name(name: &str) -> String {
    bounded(name, MAX_NAME)
}

/// Returns the start of what is wrong with arguments, which may quote what the client sent.
pub(super) fn bounded_message(message: &str) -> String {
    bounded(message, MAX_MESSAGE)
}

/// Returns at most `max` characters of a text, with control characters replaced by spaces: a line
/// end would start a line of the log.
fn bounded(text: &str, max: usize) -> String {
    let chars = text.chars().take(max);
    let mut bounded: String = chars
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if text.chars().nth(max).is_some() {
        bounded.push_str("...");
    }
    bounded
}
