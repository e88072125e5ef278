//! The requests of a connection that have no response yet.
//!
//! The responses to two requests with one id cannot be distinguished, and rmcp responds to one of
//! them alone. So the second one is rejected before rmcp receives it.
//!
//! Cancellations are handled here too. rmcp forgets the id of a cancelled request at once, while
//! its handler ends later: the result of the handler would end another request with that id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, GetExtensions as _,
    JsonRpcMessage, JsonRpcRequest, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RequestContext, RoleServer};
use tokio_util::sync::CancellationToken;

/// The maximum number of requests in flight.
const MAX_IN_FLIGHT: usize = 10_000;

/// The requests of one connection or session. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<HashMap<RequestId, Arc<InFlight>>>>);

/// A request that has no response yet, in the extensions of its message.
#[derive(Debug)]
pub(super) struct InFlight {
    id: RequestId,
    cancelled: CancellationToken,
}

// === impl Requests ===

impl Requests {
    /// Adds a request. Its extensions contain it then.
    ///
    /// # Errors
    /// The response, if a request with the same id is in flight, or too many are.
    pub(super) fn begin(
        &self,
        request: &mut JsonRpcRequest<ClientRequest>,
    ) -> Result<Arc<InFlight>, Box<ServerJsonRpcMessage>> {
        let mut all = self.all();
        let is_full = all.len() >= MAX_IN_FLIGHT;
        match all.entry(request.id.clone()) {
            Entry::Occupied(entry) => {
                let id = entry.key();
                let fault = format!("a request with the id {id} is in flight: use another id");
                Err(rejection(fault, id.clone()))
            }
            Entry::Vacant(entry) if is_full => {
                let fault = format!("{MAX_IN_FLIGHT} requests are in flight");
                Err(rejection(fault, entry.key().clone()))
            }
            Entry::Vacant(entry) => {
                let begun = Arc::new(InFlight {
                    id: request.id.clone(),
                    cancelled: CancellationToken::new(),
                });
                entry.insert(Arc::clone(&begun));
                let extensions = request.request.extensions_mut();
                extensions.insert(Arc::clone(&begun));
                Ok(begun)
            }
        }
    }

    /// Cancels the request that this message cancels. Returns false for another message.
    pub(super) fn cancel(&self, message: &ClientJsonRpcMessage) -> bool {
        let JsonRpcMessage::Notification(message) = message else {
            return false;
        };
        let ClientNotification::CancelledNotification(cancelled) = &message.notification else {
            return false;
        };
        let id = cancelled.params.request_id.as_ref();
        if let Some(request) = id.and_then(|id| self.all().get(id).cloned()) {
            request.cancelled.cancel();
        }
        true
    }

    /// Returns the request to which this message is the response.
    pub(super) fn answered_by(&self, message: &ServerJsonRpcMessage) -> Option<Arc<InFlight>> {
        let id = match message {
            JsonRpcMessage::Response(response) => &response.id,
            JsonRpcMessage::Error(error) => error.id.as_ref()?,
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => return None,
        };
        self.all().get(id).cloned()
    }

    /// Removes a request. Its id may be used again.
    pub(super) fn end(&self, request: &Arc<InFlight>) {
        let mut all = self.all();
        if all
            .get(&request.id)
            .is_some_and(|current| Arc::ptr_eq(current, request))
        {
            all.remove(&request.id);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<InFlight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rejection(fault: String, id: RequestId) -> Box<ServerJsonRpcMessage> {
    let error = ErrorData::invalid_request(fault, None);
    Box::new(ServerJsonRpcMessage::error(error, Some(id)))
}

// === impl InFlight ===

impl InFlight {
    /// Cancelled when the client cancels the request, which then gets no response.
    pub(super) const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

/// Returns a future that waits until a request is cancelled, or its connection ends.
pub(super) fn cancelled(
    context: &RequestContext<RoleServer>,
) -> impl Future<Output = ()> + Send + 'static {
    let connection = context.ct.clone();
    // Missing on a transport of the user, where rmcp cancels.
    let request = context.extensions.get::<Arc<InFlight>>().cloned();
    async move {
        let client = async {
            match &request {
                Some(request) => request.cancelled.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = connection.cancelled() => {}
            () = client => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(id: usize) -> JsonRpcRequest<ClientRequest> {
        let ping = json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
        serde_json::from_value(ping).expect("a request")
    }

    #[test]
    fn requests_in_flight_are_bounded() {
        let requests = Requests::default();
        let begun: Vec<_> = (0..MAX_IN_FLIGHT)
            .map(|id| requests.begin(&mut request(id)).expect("there is room"))
            .collect();
        let rejected = requests.begin(&mut request(MAX_IN_FLIGHT));
        let rejected = serde_json::to_value(rejected.expect_err("it is full"));
        let error = &rejected.expect("it serializes")["error"];
        assert_eq!(error["code"], -32_600);
        requests.end(&begun[7]);
        assert!(requests.begin(&mut request(7)).is_ok());
    }

    #[test]
    fn the_end_of_a_request_does_not_remove_a_later_one_with_its_id() {
        let requests = Requests::default();
        let first = requests.begin(&mut request(1)).expect("it is the first");
        requests.end(&first);
        let _second = requests.begin(&mut request(1)).expect("the id is free");
        requests.end(&first);
        assert!(requests.begin(&mut request(1)).is_err());
    }
}
