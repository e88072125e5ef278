//! Cancels an attempt, and notifies what waits for its cancellation or end.
//!
//! There are two sources. A layer cancels its inner service: recorded in `State::cancelled`. A
//! [`Canceller`](crate::Canceller) cancels the whole call: its [`Signal`] is read until the
//! attempt ends, and recorded when it was read.
//!
//! There is one way to be notified: a token of a [`Scope`]. It is a child of the signal's token,
//! whose parent is a scope of the attempt or the call around. A layer that cancels or ends cancels
//! the scopes inside of it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Attempt, State};
use crate::call::canceller::Signal;
use crate::outcome::CancelReason;
use crate::sync::lock;

/// A cancellation of everything inside of a depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancelled {
    depth: u32,
    reason: CancelReason,
}

/// A token that is cancelled when everything inside of `depth` layers is cancelled or over.
#[derive(Debug)]
pub(super) struct Scope {
    depth: u32,
    token: CancellationToken,
}

/// The wait of the layer that ends a cancelled attempt.
pub(super) struct Wait(Pin<Box<WaitForCancellationFutureOwned>>);

// === impl Attempt ===

impl Attempt {
    /// Cancels everything inside of the layer at `depth`.
    ///
    /// What waits inside records that when it is dropped, which comes next. An earlier record is of
    /// an attempt that ended before.
    pub(crate) fn cancel(&self, depth: u32, reason: CancelReason) {
        let mut state = self.change();
        state.cancel(depth, reason);
        let scopes = state.take_scopes(depth);
        drop(state);
        self.take_waited();
        cancel_all(&scopes);
    }

    /// Returns the reason of a cancellation from outside of `depth`.
    #[inline]
    pub(crate) fn cancelled_outside(&self, depth: u32) -> Option<CancelReason> {
        // Without these nothing has cancelled it: the usual call.
        match self.signal.get().is_none() && !self.has_state() && self.link().is_none() {
            true => None,
            false => self.find_cancellation(depth),
        }
    }

    #[cold]
    fn find_cancellation(&self, depth: u32) -> Option<CancelReason> {
        self.record_signal();
        let cancelled = lock(&self.state).cancelled;
        match cancelled.filter(|cancelled| cancelled.depth < depth) {
            Some(cancelled) => Some(cancelled.reason),
            None => {
                let link = self.link()?;
                link.attempt.cancelled_outside(link.depth + 1)
            }
        }
    }

    /// Records what the signal says, unless the attempt has ended: so a reason that was read once
    /// stays, and one that comes after the end is not read.
    pub(super) fn record_signal(&self) {
        let Some(signal) = self.signal.get() else {
            return;
        };
        if let (Some(entered), Some(reason)) = (signal.entered(), signal.reason()) {
            let mut state = self.change();
            if !self.has_ended() {
                state.cancel(entered, reason);
            }
        }
    }

    /// Returns whether the attempt is cancelled or over.
    pub(in crate::call) fn is_gone(&self) -> bool {
        self.cancelled_outside(u32::MAX).is_some() || self.is_over()
    }

    /// Waits until the attempt is cancelled or over.
    pub(in crate::call) async fn gone(&self) {
        if !self.is_gone() {
            self.scope(u32::MAX).cancelled().await;
        }
    }

    /// Returns the token that is cancelled when everything inside of `depth` layers is cancelled
    /// or over.
    pub(in crate::call) fn scope(&self, depth: u32) -> CancellationToken {
        let new = self.signal().token().child_token();
        let mut state = self.change();
        let scopes = &mut state.rare().scopes;
        let token = match scopes.iter().find(|scope| scope.depth == depth) {
            Some(scope) => scope.token.clone(),
            None => {
                let token = new.clone();
                scopes.push(Scope { depth, token });
                new
            }
        };
        drop(state);
        // Read after the token is listed: a cancellation that this misses finds the token.
        let inside = depth.saturating_add(1);
        if self.cancelled_outside(inside).is_some() || self.ended_outside(inside).is_some() {
            token.cancel();
        }
        token
    }

    /// Returns the signal, which is made when something first needs it.
    pub(in crate::call) fn signal(&self) -> &Arc<Signal> {
        self.signal.get_or_init(|| {
            let token = match self.link() {
                Some(link) => link.attempt.scope(link.depth).child_token(),
                None => CancellationToken::new(),
            };
            Arc::new(Signal::new(token, false))
        })
    }

    /// Sets the signal of a new attempt.
    pub(in crate::call) fn set_signal(&self, signal: Arc<Signal>) {
        let _ = self.signal.set(signal);
    }

    /// Returns the signal for a handle, which cancels what the attempt enters from here on.
    pub(in crate::call) fn armed_signal(&self) -> Arc<Signal> {
        let signal = self.signal();
        signal.arm(self.depth());
        Arc::clone(signal)
    }

    /// Returns the signal of a fork that is made after `depth` layers: where there is a handle, it
    /// cancels the fork, too.
    pub(super) fn fork_signal(&self, depth: u32) -> OnceLock<Arc<Signal>> {
        let armed = self
            .signal
            .get()
            .filter(|signal| signal.entered() == Some(depth));
        armed.map_or_else(OnceLock::new, |signal| match depth {
            0 => OnceLock::from(Arc::clone(signal)),
            depth => {
                let inside = Signal::new(self.scope(depth).child_token(), false);
                inside.arm(0);
                OnceLock::from(Arc::new(inside))
            }
        })
    }

    /// Returns why the call is not started: it was cancelled before its outermost layer, at
    /// `depth`, was entered.
    #[inline]
    pub(crate) fn cancelled_before_start(&self, depth: u32) -> Option<CancelReason> {
        match depth == 1 || self.ends_by_signal(depth).is_some() {
            true => self.cancelled_outside(depth),
            false => None,
        }
    }

    /// Returns why the attempt was cancelled by its signal, if the layer at `depth` is the one that
    /// ends it then. Otherwise the task is woken on cancellation.
    #[inline]
    pub(crate) fn poll_cancelled(&self, depth: u32, cx: &mut Context<'_>) -> Poll<CancelReason> {
        match self.ends_by_signal(depth) {
            Some(token) => self.poll_signal(token, depth, cx),
            None => Poll::Pending,
        }
    }

    #[cold]
    fn poll_signal(
        &self,
        token: &CancellationToken,
        depth: u32,
        cx: &mut Context<'_>,
    ) -> Poll<CancelReason> {
        // Moved out for the poll, which may drop a waker. The layer alone polls.
        let mut wait = self
            .with_rare(|rare| rare.wait.take())
            .flatten()
            .unwrap_or_else(|| Wait(Box::pin(token.clone().cancelled_owned())));
        if wait.0.as_mut().poll(cx).is_ready() {
            return Poll::Ready(self.reason_by_signal(depth));
        }
        self.change().rare().wait = Some(wait);
        Poll::Pending
    }

    /// Returns the token that the layer at `depth` waits for to end the attempt, if it does.
    #[inline]
    pub(crate) fn ends_by_signal(&self, depth: u32) -> Option<&CancellationToken> {
        let signal = self.signal.get()?;
        (signal.entered()? + 1 == depth).then(|| signal.token())
    }

    /// Returns the reason once that token is cancelled. It is the reason of the attempt around,
    /// if that was cancelled, and `Parent` if that is over.
    fn reason_by_signal(&self, depth: u32) -> CancelReason {
        self.cancelled_outside(depth)
            .unwrap_or(CancelReason::Parent)
    }
}

pub(super) fn cancel_all(scopes: &[Scope]) {
    scopes.iter().for_each(|scope| scope.token.cancel());
}

// === impl State ===

impl State {
    /// Records a cancellation unless a layer outside of it is cancelled.
    fn cancel(&mut self, depth: u32, reason: CancelReason) {
        if self
            .cancelled
            .is_none_or(|outermost| depth < outermost.depth)
        {
            self.cancelled = Some(Cancelled { depth, reason });
        }
    }

    /// Takes the tokens of everything inside of the layer at `depth`.
    pub(super) fn take_scopes(&mut self, depth: u32) -> Vec<Scope> {
        let Some(rare) = &mut self.rare else {
            return Vec::new();
        };
        let scopes = std::mem::take(&mut rare.scopes);
        let (outside, inside) = scopes.into_iter().partition(|scope| scope.depth < depth);
        rare.scopes = outside;
        inside
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}
