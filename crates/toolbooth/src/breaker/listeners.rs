//! What is notified of the changes of a circuit breaker.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use toolbooth_core::{EventKind, EventSink, LayerName, Name};

use super::change::{BreakerState, Change};
use crate::middleware::LayerEvents;
use crate::middleware::sync::{Arc, Mutex, lock};

/// A change of the state of a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The tool or the key, if there is a breaker for each.
    pub key: Option<Name>,
    /// The state before.
    pub from: BreakerState,
    /// The state after.
    pub to: BreakerState,
    /// The open time, if it opened and the time is limited.
    pub open_for: Option<Duration>,
}

/// The callbacks and the sinks for changes of the state.
pub(super) struct Listeners(Mutex<Registered>);

#[derive(Clone)]
struct Registered {
    callbacks: Vec<Arc<Callback>>,
    events: LayerEvents,
    /// The name of the layer in events.
    name: LayerName,
}

type Callback = dyn Fn(&StateChange) + Send + Sync;

/// The name of a layer that was given none.
pub(super) const NAME: LayerName = LayerName::new("breaker");

// === impl Listeners ===

impl Listeners {
    pub(super) fn add(&self, callback: impl Fn(&StateChange) + Send + Sync + 'static) {
        lock(&self.0).callbacks.push(Arc::new(callback));
    }

    pub(super) fn add_sink(&self, sink: impl EventSink) {
        lock(&self.0).events.add(sink);
    }

    pub(super) fn set_name(&self, name: &LayerName) {
        lock(&self.0).name = name.clone();
    }

    /// Returns another list of the same listeners.
    pub(super) fn copy(&self) -> Self {
        Self(Mutex::new(lock(&self.0).clone()))
    }

    /// Calls the listeners, without a lock.
    pub(super) fn notify(&self, key: Option<&Name>, change: Change) {
        let Registered {
            callbacks,
            events,
            name,
        } = lock(&self.0).clone();
        let Change {
            from,
            to,
            open_for,
            why,
        } = change;
        let why = why.as_str();
        tracing::info!(
            key = key.map(Name::as_str),
            %name,
            ?from,
            ?to,
            ?open_for,
            why,
            "circuit breaker"
        );
        events.report(|| EventKind::BreakerChanged {
            layer: name,
            key: key.cloned(),
            from: from.as_str(),
            to: to.as_str(),
            why: Name::from_static(why),
        });
        let change = StateChange {
            key: key.cloned(),
            from,
            to,
            open_for,
        };
        for callback in callbacks {
            if catch_unwind(AssertUnwindSafe(|| callback(&change))).is_err() {
                tracing::error!("a listener of a circuit breaker panicked");
            }
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self(Mutex::new(Registered {
            callbacks: Vec::new(),
            events: LayerEvents::none(),
            name: NAME,
        }))
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}
