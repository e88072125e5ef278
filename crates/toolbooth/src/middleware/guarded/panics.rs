//! A panic of foreign code ends the call as one that panicked.

use std::pin::Pin;

use toolbooth_core::Part;
use toolbooth_core::{End, Watch};
use tower_service::Service;

use super::Guarded;

/// Around everything that runs foreign code: a panic ends the call as one.
pub(super) struct Armed<'a, S: Service<R>, R, W: Watch, A>(
    pub(super) Option<Pin<&'a mut Guarded<S, R, W, A>>>,
);

/// A watch on its way to being told the end; or told of a panic, where there was one.
pub(super) struct Untold<W: Watch>(pub(super) Option<W>);

/// The same for a part that has no watch yet.
struct Unended(Option<Part>);

/// Asks what the user said about calls of this one; a panic of that ends the call as one.
pub(crate) fn ask<T>(part: Part, user: impl FnOnce(&Part) -> T) -> (Part, T) {
    let mut unended = Unended(None);
    let said = user(unended.0.insert(part));
    let part = unended.0.take();
    (part.expect("only a panic ends it here"), said)
}

// === impl Armed, Untold, Unended ===

impl<S: Service<R>, R, W: Watch, A> Drop for Armed<'_, S, R, W, A> {
    fn drop(&mut self) {
        if let Some(guarded) = self.0.take() {
            guarded.end(End::Panicked);
        }
    }
}

impl<W: Watch> Drop for Untold<W> {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            watch.on_end(End::Panicked);
        }
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        if let Some(part) = self.0.take() {
            part.end(End::Panicked, |_, _| ());
        }
    }
}
