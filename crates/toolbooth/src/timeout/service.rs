use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, LayerName, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::limits::{CallLimits, Settings};
use crate::middleware::{LayerFuture, PartWatch, Slot, Verdict, inner_accessors, not_to_start};

/// Limits how long calls to the inner service may take. Made by
/// [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    settings: Arc<Settings>,
    name: LayerName,
}

// === impl Timeout ===

inner_accessors!(Timeout);

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>, name: LayerName) -> Self {
        Self {
            inner,
            settings,
            name,
        }
    }
}

impl<S, R> Service<R> for Timeout<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        let Self {
            inner,
            settings,
            name,
        } = self;
        let inner = LayerFuture::enter(
            inner,
            request,
            |part, _, slot| decide(settings, name, part, slot),
            |_, _| (),
        );
        ResponseFuture::new(inner)
    }
}

fn decide(
    settings: &Settings,
    name: &LayerName,
    part: &Part,
    slot: Slot<'_, ResponseWatch>,
) -> Verdict<Infallible> {
    let limits = settings.enter(part);
    match not_to_start(part, name) {
        None => slot.start(ResponseWatch::new(limits, name.clone())),
        Some(error) => {
            let watch = ResponseWatch::new(CallLimits::default(), name.clone());
            slot.reject(watch, error)
        }
    }
}
