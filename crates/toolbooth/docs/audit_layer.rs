use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, mpsc::Sender};
use std::task::{Context, Poll, ready};

use tokio::sync::{AcquireError, OwnedSemaphorePermit as Permit, Semaphore};
use toolbooth::middleware::{
    Acquire, Decision, LayerFuture, LayerName, LayerWatch, Part, PartWatch,
};
use toolbooth::{BoxError, End, Item, Outcome, ToolError, ToolRequest, ToolResponse};
use tower::{Layer, Service};

/// Limits how many audited calls run at once, and records how each call ended.
#[derive(Debug, Clone)]
pub struct AuditLayer {
    pub permits: Arc<Semaphore>,
    pub records: Sender<Record>,
}

static AUDIT: LayerName = LayerName::new("audit");

/// The tool of a call, its outcome, and how many items it streamed.
pub type Record = (String, Outcome, usize);

#[derive(Debug, Clone)]
pub struct Audit<S>(S, AuditLayer);

/// Owns the permit of a call until its last byte is delivered.
#[derive(Debug)]
pub struct AuditWatch {
    permit: Option<Permit>,
    records: Sender<Record>,
    items: usize,
}

/// Waits for a permit. Dropping it leaves the semaphore's queue.
pub struct AcquirePermit(Pin<Box<dyn Future<Output = Result<Permit, AcquireError>> + Send>>);

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit(inner, self.clone())
    }
}

impl<S, R> Service<R> for Audit<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<AuditWatch>>;
    type Error = ToolError;
    type Future = LayerFuture<S, R, AuditWatch, AcquirePermit>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let AuditLayer { permits, records } = self.1.clone();
        LayerFuture::new(&mut self.0, request, |_part| {
            let permit = Arc::clone(&permits).try_acquire_owned().ok();
            let waits = permit.is_none();
            let watch = AuditWatch {
                permit,
                records,
                items: 0,
            };
            match waits {
                false => Decision::Start(watch),
                true => Decision::Wait(watch, AcquirePermit(Box::pin(permits.acquire_owned()))),
            }
        })
    }
}

impl Acquire<AuditWatch> for AcquirePermit {
    fn poll_acquire(
        &mut self,
        _: &Part,
        watch: &mut AuditWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let permit = ready!(self.0.as_mut().poll(cx));
        watch.permit = Some(permit.map_err(ToolError::from_error)?);
        Poll::Ready(Ok(()))
    }

    fn queue(&self) -> Option<&LayerName> {
        Some(&AUDIT)
    }
}

impl LayerWatch for AuditWatch {
    fn on_item(&mut self, _: &Part, _: Item<'_>) -> ControlFlow<ToolError> {
        self.items += 1;
        ControlFlow::Continue(())
    }

    fn on_end(self, part: &Part, end: &End<'_>) {
        let tool = part.context().tool().to_owned();
        let _ = self.records.send((tool, end.outcome(), self.items));
    }
}
