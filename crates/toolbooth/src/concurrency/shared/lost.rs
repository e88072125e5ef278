use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::middleware::sync::{Mutex, lock};

/// Notifies the calls of a holder that its lease ends.
pub(in crate::concurrency) struct LostPermits(Mutex<CancellationToken>);

/// Waits for the end of a lease on behalf of a call.
pub(in crate::concurrency) struct LeaseEnd {
    token: CancellationToken,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

// === impl LostPermits ===

impl LostPermits {
    pub(super) fn new() -> Self {
        Self(Mutex::new(CancellationToken::new()))
    }

    /// Returns the end of the lease of permits that a call has from now on.
    pub(super) fn lease_end(&self, has_ended: bool) -> LeaseEnd {
        let token = lock(&self.0).clone();
        let token = match has_ended {
            true => ended(),
            false => token,
        };
        let wait = Box::pin(token.clone().cancelled_owned());
        LeaseEnd { token, wait }
    }

    /// Ends the lease of all calls that have permits.
    pub(super) fn end(&self) {
        let ended = std::mem::replace(&mut *lock(&self.0), CancellationToken::new());
        ended.cancel();
    }
}

fn ended() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

impl fmt::Debug for LostPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LostPermits")
    }
}

// === impl LeaseEnd ===

impl LeaseEnd {
    pub(in crate::concurrency) fn has_come(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(in crate::concurrency) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wait.as_mut().poll(cx)
    }

    /// Waits for the end.
    pub(in crate::concurrency) fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        self.token.clone().cancelled_owned()
    }
}

impl fmt::Debug for LeaseEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseEnd")
    }
}
