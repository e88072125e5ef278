//! Methods that are the same for every layer.

/// Implements `get_ref`, `get_mut` and `into_inner` for a service with a field `inner`.
macro_rules! inner_accessors {
    ($service:ident) => {
        impl<S> $service<S> {
            /// Returns a reference to the inner service.
            pub const fn get_ref(&self) -> &S {
                &self.inner
            }

            /// Returns a mutable reference to the inner service.
            pub const fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// Consumes the layer's service and returns the inner service.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }
    };
}

/// Implements `with_name` and `name` for a layer with its [`LayerName`](crate::LayerName) in a
/// field.
macro_rules! layer_name {
    ($layer:ty, $($field:ident).+, $kind:literal) => {
        impl $layer {
            #[doc = concat!("Sets the name of this layer: `", $kind, "` by default.")]
            ///
            /// Its errors and logs carry the name. It applies to this value and its clones. What
            /// the clones share stays shared.
            #[must_use]
            pub fn with_name(mut self, name: impl Into<crate::Name>) -> Self {
                self.$($field).+ = self.$($field).+.renamed(name);
                self
            }

            /// Returns the name of this layer.
            #[must_use]
            pub fn name(&self) -> &str {
                self.$($field).+.as_str()
            }
        }
    };
}

/// Implements `with_events` for a layer with its [`LayerEvents`](super::LayerEvents) in a field.
macro_rules! limit_events {
    ($layer:ty, $($field:ident).+) => {
        impl $layer {
            /// Delivers changes of the limit to `sink`, beside other sinks, as
            /// [`LimitChanged`](crate::EventKind::LimitChanged).
            ///
            /// Each `set_*` of this value and its clones makes an event, without the id of a call.
            /// Values that were cloned before share the limit, and keep their own sinks. The sink
            /// is called within the call that causes the event, without a lock.
            ///
            /// [`EventsLayer`](crate::EventsLayer) delivers the events of calls.
            #[must_use]
            pub fn with_events(mut self, sink: impl crate::EventSink) -> Self {
                self.$($field).+.add(sink);
                self
            }
        }
    };
}

pub(crate) use inner_accessors;
pub(crate) use layer_name;
pub(crate) use limit_events;
