//! Parts of the messages.

use std::fmt;
use std::time::Duration;

use super::{LayerName, Origin};

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

pub(super) fn waiting(origin: &Origin) -> impl fmt::Display {
    Around(" while waiting in the queue of ", origin.queue(), "")
}

/// Truncates to milliseconds, the resolution of tokio's timers. Shorter durations stay unchanged.
pub(super) fn millis(duration: Duration) -> Duration {
    match duration.as_millis() {
        0 => duration,
        _ => Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000),
    }
}

pub(super) fn retry_text(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(retry_after) => format!("retry after {:?}", millis_up(retry_after)),
        None => "and the time to retry is not known".to_owned(),
    }
}

/// Rounds up to milliseconds, so that a retry after this time is not too early.
pub(super) fn millis_up(duration: Duration) -> Duration {
    millis(duration.saturating_add(Duration::from_nanos(999_999)))
}
