use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::middleware::sync::{Mutex, lock};

/// Notifies the calls of a holder that its lease ends.
pub(in crate::concurrency) struct LostPermits(Mutex<Lease>);

/// A lease that has not ended.
struct Lease {
    /// How many have ended before.
    number: u64,
    end: CancellationToken,
}

/// Waits for the end of a lease on behalf of a call.
pub(in crate::concurrency) struct LeaseEnd {
    token: CancellationToken,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

// === impl LostPermits ===

impl LostPermits {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Lease {
            number: 0,
            end: CancellationToken::new(),
        }))
    }

    /// Returns the number of the lease that has not ended.
    pub(super) fn lease(&self) -> u64 {
        lock(&self.0).number
    }

    /// Returns the end of the lease of this number.
    pub(super) fn lease_end(&self, number: u64) -> LeaseEnd {
        let lease = lock(&self.0);
        let token = match lease.number == number {
            true => lease.end.clone(),
            false => ended(),
        };
        let wait = Box::pin(token.clone().cancelled_owned());
        LeaseEnd { token, wait }
    }

    /// Ends the lease of all permits. The caller cancels what is returned, without a lock.
    pub(super) fn end(&self) -> CancellationToken {
        let mut lease = lock(&self.0);
        lease.number += 1;
        std::mem::replace(&mut lease.end, CancellationToken::new())
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
