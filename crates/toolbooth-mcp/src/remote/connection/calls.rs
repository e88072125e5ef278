//! The calls in flight on a connection, and the progress that they receive.
//!
//! rmcp handles each notification on a task of its own, so a report of progress may be handled
//! after the response that follows it. Here it is applied where messages are received, in their
//! order: no report before the response is lost. A call is registered where its request is sent, so
//! that no early report is lost either.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rmcp::model::{
    ClientJsonRpcMessage, GetExtensions, GetMeta, JsonRpcMessage, ProgressNotificationParam,
    ProgressToken, RequestId,
};
use tokio::time::Instant;
use toolbooth_core::{CallContext, start_of};

use crate::remote::RemoteError;

/// The maximum length of the message of a report of progress, in bytes.
const MAX_MESSAGE: usize = 4_096;

/// The factor for progress that is not a whole number, such as 0.5 of 1.
const SCALE: f64 = 1_000.0;

/// The calls in flight.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    by_id: HashMap<RequestId, Arc<InFlight>>,
    by_token: HashMap<ProgressToken, Arc<InFlight>>,
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    context: CallContext,
    received: Mutex<Received>,
    /// Why its response cannot be used, in place of the response.
    fault: OnceLock<RemoteError>,
    stage: Mutex<Stage>,
}

/// How far a request is. The call and the transport agree on whether it is written: a call that
/// ends before is not written, and one that ends after is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Written,
    Over,
}

#[derive(Debug)]
struct Received {
    last: Instant,
    is_scaled: bool,
}

/// The call in flight, in the extensions of its request. They stay in this process.
#[derive(Debug, Clone)]
pub(crate) struct Tracked(Weak<InFlight>);

/// Removes a call that is over.
#[derive(Debug)]
pub(crate) struct Registered {
    calls: Arc<Calls>,
    id: RequestId,
    token: ProgressToken,
}

// === impl Calls ===

impl Calls {
    /// Registers the call of a request that is about to be sent, unless the call is over.
    pub(crate) fn sent(&self, message: &ClientJsonRpcMessage) {
        let JsonRpcMessage::Request(request) = message else {
            return;
        };
        let Some(call) = Tracked::of(message).and_then(|call| call.0.upgrade()) else {
            return;
        };
        let token = request.request.get_meta().get_progress_token();
        let mut registry = self.lock();
        // What removes it has run, or waits for the lock.
        if *call.stage() == Stage::Over {
            return;
        }
        if let Some(token) = token {
            registry.by_token.insert(token, Arc::clone(&call));
        }
        registry.by_id.insert(request.id.clone(), call);
    }

    /// Applies a report of progress. It is ignored if its call is over.
    pub(crate) fn progress(&self, report: &ProgressNotificationParam) {
        let call = self.lock().by_token.get(&report.progress_token).cloned();
        if let Some(call) = call {
            call.report(report);
        }
    }

    /// Sets why the response to a request cannot be used, if a call waits for it.
    pub(crate) fn fail(&self, id: &RequestId, fault: RemoteError) {
        let call = self.lock().by_id.get(id).cloned();
        if let Some(call) = call {
            // The first one stays.
            let _ = call.fault.set(fault);
        }
    }

    /// Returns whether a call waits for the response to this request.
    pub(crate) fn contains(&self, id: &RequestId) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Returns the number of calls in flight.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tracked ===

impl Tracked {
    pub(crate) fn new(call: &Arc<InFlight>) -> Self {
        Self(Arc::downgrade(call))
    }

    /// Returns the call whose request this message is.
    pub(crate) fn of(message: &ClientJsonRpcMessage) -> Option<Self> {
        let JsonRpcMessage::Request(request) = message else {
            return None;
        };
        request.request.extensions().get().cloned()
    }

    /// Records that its request is written from now on. False if the call is over: then it must not
    /// be written.
    pub(crate) fn start_write(&self) -> bool {
        let Some(call) = self.0.upgrade() else {
            return false;
        };
        let mut stage = call.stage();
        let is_wanted = *stage != Stage::Over;
        if is_wanted {
            *stage = Stage::Written;
        }
        is_wanted
    }
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn new(context: CallContext) -> Arc<Self> {
        Arc::new(Self {
            context,
            received: Mutex::new(Received {
                last: Instant::now(),
                is_scaled: false,
            }),
            fault: OnceLock::new(),
            stage: Mutex::new(Stage::Queued),
        })
    }

    /// Records that the call is over. Returns whether its request may have been written.
    pub(crate) fn end(&self) -> bool {
        std::mem::replace(&mut *self.stage(), Stage::Over) == Stage::Written
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when something of the call was received, at first when it was made.
    pub(crate) fn last_received(&self) -> Instant {
        self.lock().last
    }

    pub(crate) fn fault(&self) -> Option<&RemoteError> {
        self.fault.get()
    }

    fn report(&self, report: &ProgressNotificationParam) {
        let mut received = self.lock();
        received.last = Instant::now();
        let total = report.total.filter(|total| is_count(*total));
        let is_whole = |number: f64| number.fract() == 0.0;
        // From then on all reports of the call are scaled, so that they never decrease.
        received.is_scaled |= !is_whole(report.progress) || !total.is_none_or(is_whole);
        let is_scaled = received.is_scaled;
        drop(received);
        if !is_count(report.progress) {
            return self.context.heartbeat();
        }
        let scaled = |number| rounded(if is_scaled { number * SCALE } else { number });
        let message = report.message.as_deref();
        let message = message.map(|message| start_of(message, MAX_MESSAGE).to_owned());
        let (done, total) = (scaled(report.progress), total.map(scaled));
        match message {
            Some(message) => {
                self.context.progress(done, total, message.as_str());
                // The progress of a call has its last message alone.
                self.context.keep_item(message);
            }
            None => self.context.progress(done, total, None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether this is a number that can be counted to: not negative, and not NaN.
fn is_count(number: f64) -> bool {
    number >= 0.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion of a float saturates, and the number is not negative"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

// === impl Registered ===

impl Registered {
    pub(crate) const fn new(calls: Arc<Calls>, id: RequestId, token: ProgressToken) -> Self {
        Self { calls, id, token }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut registry = self.calls.lock();
        let by_id = registry.by_id.remove(&self.id);
        let by_token = registry.by_token.remove(&self.token);
        // The context is dropped without the lock: its hooks may run.
        drop(registry);
        drop((by_id, by_token));
    }
}
