//! Reports events as events of `tracing`.

use std::borrow::Cow;

use toolbooth_core::{Event, EventKind, LimitChange};
use tracing::span::Id;
use tracing::{Level, Span};

use super::{bounded, names};

/// Where an event belongs.
struct Place<'a> {
    event: &'a Event,
    span: Option<&'a Span>,
}

/// Reports an event. The level is a constant of each call site. The fields are computed only if the
/// event is enabled.
macro_rules! emit {
    ($place:expr, $level:ident, $event:expr $(, $($fields:tt)+)?) => {
        tracing::event!(
            target: names::TARGET,
            parent: $place.parent(),
            Level::$level,
            {
                tool = $place.tool().as_deref(),
                call_id = $place.call_id().as_deref()
                $(, $($fields)+)?
            },
            "{}",
            $event.name()
        )
    };
}

/// Reports an event in the span of its call, otherwise in the current one. `Invoked` is the span
/// itself.
pub(super) fn report(event: &Event, span: Option<&Span>) {
    let place = Place { event, span };
    match &event.kind {
        EventKind::Queued { layer, .. } => {
            emit!(place, DEBUG, event, layer = &*bounded::name(layer.as_str()));
        }
        EventKind::Admitted { layer, waited, .. } => {
            emit!(
                place,
                DEBUG,
                event,
                layer = &*bounded::name(layer.as_str()),
                ?waited
            );
        }
        EventKind::Partial { bytes, content, .. } => {
            let content = content
                .as_deref()
                .map(std::slice::from_ref)
                .map(bounded::contents);
            emit!(place, TRACE, event, bytes, content);
        }
        EventKind::Progress(progress) => {
            let (done, total) = (progress.done(), progress.total());
            emit!(place, DEBUG, event, done, total);
        }
        EventKind::Heartbeat => emit!(place, TRACE, event),
        EventKind::Retry {
            attempt,
            after,
            layer,
            error_type,
            ..
        } => {
            let layer = layer.as_ref().map(|layer| bounded::name(layer.as_str()));
            let (layer, error_type) = (layer.as_deref(), error_type.as_deref());
            emit!(
                place,
                INFO,
                event,
                attempt,
                ?after,
                layer,
                "error.type" = error_type
            );
        }
        EventKind::Expired { layer, limit, .. } => {
            let layer = bounded::name(layer.as_str());
            emit!(place, DEBUG, event, layer = &*layer, ?limit);
        }
        kind if kind.is_terminal() => report_end(event, &place),
        EventKind::CleanupStarted { hooks, .. } => emit!(place, DEBUG, event, hooks),
        EventKind::CleanupFinished { took, .. } => emit!(place, DEBUG, event, ?took),
        EventKind::CleanupFailed { took, panicked, .. } => {
            emit!(place, WARN, event, ?took, panicked);
        }
        EventKind::CleanupAbandoned { hooks, .. } => emit!(place, WARN, event, hooks),
        EventKind::BreakerChanged { .. } | EventKind::LimitChanged { .. } => {
            report_change(event, &place);
        }
        _ => emit!(place, DEBUG, event),
    }
}

fn report_end(event: &Event, place: &Place<'_>) {
    let error_type = event.kind.error_type().map(bounded::name);
    let error_type = error_type.as_deref();
    match &event.kind {
        EventKind::TimedOut {
            layer,
            limit,
            overshoot,
            started,
            ..
        } => {
            let layer = layer.as_ref().map(|layer| bounded::name(layer.as_str()));
            emit!(
                place,
                WARN,
                event,
                layer = layer.as_deref(),
                ?limit,
                overshoot = overshoot.map(tracing::field::debug),
                started
            );
        }
        EventKind::Rejected {
            layer, retry_after, ..
        } => {
            let layer = layer.as_ref().map(|layer| bounded::name(layer.as_str()));
            let layer = layer.as_deref();
            let retry_after = retry_after.map(tracing::field::debug);
            emit!(
                place,
                INFO,
                event,
                layer,
                "error.type" = error_type,
                retry_after
            );
        }
        EventKind::Cancelled {
            reason, started, ..
        } => {
            emit!(place, INFO, event, reason = reason.as_str(), started);
        }
        EventKind::Failed { .. } => emit!(place, WARN, event, "error.type" = error_type),
        EventKind::Panicked { .. } => emit!(place, ERROR, event),
        _ if error_type.is_some() => emit!(place, INFO, event, "error.type" = error_type),
        _ => emit!(place, DEBUG, event),
    }
}

/// Reports a change of a layer.
fn report_change(event: &Event, place: &Place<'_>) {
    match &event.kind {
        EventKind::BreakerChanged {
            layer,
            key,
            from,
            to,
            why,
            ..
        } => {
            let (layer, why) = (bounded::name(layer.as_str()), bounded::name(why));
            let (layer, why) = (&*layer, &*why);
            let key = key.as_deref().map(bounded::name);
            let key = key.as_deref();
            match *to {
                "open" => emit!(place, WARN, event, layer, key, from, to, why),
                _ => emit!(place, INFO, event, layer, key, from, to, why),
            }
        }
        EventKind::LimitChanged { layer, change, .. } => {
            let layer = bounded::name(layer.as_str());
            let layer = &*layer;
            match change {
                LimitChange::Set { key, limit, .. } => {
                    let (key, limit) = (key.as_deref().map(bounded::name), limit.as_deref());
                    emit!(place, INFO, event, layer, key = key.as_deref(), limit);
                }
                LimitChange::Queue { setting, value, .. } => {
                    emit!(place, INFO, event, layer, setting, value = value.as_deref());
                }
                LimitChange::Overflow { keys, .. } => emit!(place, INFO, event, layer, keys),
                LimitChange::StoreLost { when_away, .. } => {
                    emit!(place, WARN, event, layer, store = "lost", when_away);
                }
                LimitChange::StoreFound => emit!(place, INFO, event, layer, store = "found"),
                _ => emit!(place, INFO, event, layer),
            }
        }
        _ => {}
    }
}

// === impl Place ===

impl Place<'_> {
    fn parent(&self) -> Option<Id> {
        match self.span {
            Some(span) => span.id(),
            None => Span::current().id(),
        }
    }

    /// Returns the tool of a call without a span.
    fn tool(&self) -> Option<Cow<'_, str>> {
        let tool = self.event.tool.as_deref();
        tool.filter(|_| self.span.is_none()).map(bounded::name)
    }

    /// Returns the id of a call without a span.
    fn call_id(&self) -> Option<Cow<'_, str>> {
        let id = self.event.call_id.as_deref();
        id.filter(|_| self.span.is_none()).map(bounded::name)
    }
}
