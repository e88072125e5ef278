use std::any::Any;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::Value;
use toolbooth_core::{
    BoxError, LayerName, MAX_JSON_DEPTH, Part, ToolCall, ToolError, ToolOutput, nests_too_deep,
};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch, Wait};
use super::store::{Claim, Shared, Stored};
use super::{IdempotencyLayer, future};
use crate::middleware::{Decision, LayerFuture, inner_accessors, not_to_start};

/// Runs calls with the same idempotency key once. Made by [`IdempotencyLayer`].
#[derive(Debug, Clone)]
pub struct Idempotency<S> {
    inner: S,
    layer: IdempotencyLayer,
}

// === impl Idempotency ===

inner_accessors!(Idempotency);

impl<S> Idempotency<S> {
    pub(super) const fn new(inner: S, layer: IdempotencyLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, A> Service<ToolCall<A>> for Idempotency<S>
where
    A: Hash + 'static,
    S: Service<ToolCall<A>, Response = ToolOutput> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ResponseFuture<S, ToolCall<A>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall<A>) -> Self::Future {
        let Self { inner, layer } = self;
        let inner = LayerFuture::with_request(inner, call, |part, call: &ToolCall<A>| {
            match (&layer.shared, call.context().idempotency_key()) {
                (Some(shared), Some(key)) => decide(shared, &layer.name, part, key, call.args()),
                _ => Decision::Start(ResponseWatch::off()),
            }
        });
        ResponseFuture::new(inner)
    }
}

fn decide(
    shared: &Arc<Shared>,
    name: &LayerName,
    part: &Part,
    key: &str,
    arguments: &(impl Hash + 'static),
) -> Decision<ResponseWatch, Wait> {
    if let Some(error) = not_to_start(part, name) {
        return Decision::Reject(ResponseWatch::off(), error);
    }
    // Hashing a JSON value recurses.
    let json = (arguments as &dyn Any).downcast_ref::<Value>();
    if json.is_some_and(nests_too_deep) {
        let message = format!("it nests deeper than {MAX_JSON_DEPTH} levels");
        let error = ToolError::invalid_arguments(".", message).with_layer(name);
        return Decision::Reject(ResponseWatch::off(), error);
    }
    let claim = match Claim::new(shared, part.context(), key, arguments, part.now()) {
        Ok(claim) => claim,
        Err(error) => return Decision::Reject(ResponseWatch::off(), error.with_layer(name)),
    };
    // The call that runs is around this one, such as with the same layer around toolbox and tool.
    if part.inherits(claim.id()) {
        return Decision::Start(ResponseWatch::off());
    }
    match claim.try_lead() {
        None => Decision::Wait(ResponseWatch::off(), Wait::new(claim, part, name)),
        Some(lead) => match &*lead {
            None => Decision::Start(ResponseWatch::lead(part, claim, lead)),
            Some(Stored::TooLarge) => {
                Decision::Reject(ResponseWatch::off(), future::too_large(name))
            }
            Some(Stored::Response(response)) => {
                let found = ResponseWatch::found(response.clone());
                drop(lead);
                Decision::Wait(found, Wait::found(claim, part, name))
            }
        },
    }
}
