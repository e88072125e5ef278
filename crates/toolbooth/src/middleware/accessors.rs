//! Access to the inner service, the same for every layer.

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

pub(crate) use inner_accessors;
