use std::sync::{Arc, Mutex, OnceLock};

use crate::sync::lock;

/// The arguments of a call: owned until the first `get` or clone, then shared.
///
/// So a call whose arguments are only moved needs no allocation for them, and a clone copies
/// nothing.
pub(super) struct Args<A> {
    own: Mutex<Option<A>>,
    shared: OnceLock<Arc<A>>,
}

// === impl Args ===

impl<A> Args<A> {
    pub(super) const fn new(args: A) -> Self {
        Self {
            own: Mutex::new(Some(args)),
            shared: OnceLock::new(),
        }
    }

    pub(super) fn get(&self) -> &A {
        self.shared()
    }

    pub(super) fn shared(&self) -> &Arc<A> {
        self.shared.get_or_init(|| {
            let own = lock(&self.own).take();
            Arc::new(own.expect("`own` is taken only here, once, and by value in `into_inner`"))
        })
    }

    pub(super) fn into_inner(self) -> A
    where
        A: Clone,
    {
        match self.shared.into_inner() {
            Some(shared) => Arc::unwrap_or_clone(shared),
            None => {
                crate::sync::into_inner(self.own).expect("arguments that are not shared are owned")
            }
        }
    }
}

impl<A> Clone for Args<A> {
    fn clone(&self) -> Self {
        Self {
            own: Mutex::new(None),
            shared: OnceLock::from(Arc::clone(self.shared())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Uncloned(u8);

    impl Clone for Uncloned {
        fn clone(&self) -> Self {
            unreachable!("copied")
        }
    }

    #[test]
    fn a_clone_copies_nothing_and_the_last_one_takes_the_value_out() {
        let first = Args::new(Uncloned(7));
        let second = first.clone();
        assert!(Arc::ptr_eq(first.shared(), second.shared()));
        drop(first);
        assert_eq!(second.into_inner().0, 7);
        assert_eq!(Args::new(Uncloned(8)).into_inner().0, 8);
    }
}
