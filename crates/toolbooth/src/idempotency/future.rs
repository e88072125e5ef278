use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::timeout_at;
use toolbooth_core::{
    BoxError, Collected, Content, End, Item, LayerName, Part, ResponseHead, ToolError, ToolOutput,
    nests_too_deep,
};
use tower_service::Service;

use super::store::{Claim, Lead, Stored};
use crate::middleware::{Acquire, LayerFuture, LayerWatch};

pin_project! {
    /// The future of [`Idempotency`](super::Idempotency).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch, Wait>,
    }
}

/// Records the response of the call that runs, and stores it when it is complete.
#[derive(Debug)]
pub struct ResponseWatch(Role);

/// Waits for the call that runs.
pub struct Wait {
    claim: Option<Claim>,
    /// `None` at the deadline of the call.
    wait: Pin<Box<dyn Future<Output = Option<Lead>> + Send>>,
    name: LayerName,
    /// Whether the call waits for another one.
    waits: bool,
}

enum Role {
    /// The call has no key, waits, or is inside of the call that runs.
    Off,
    /// The response of another call is there.
    Found(Collected),
    Lead(Box<Record>),
}

/// The call that runs, and its response so far.
struct Record {
    claim: Claim,
    lead: Lead,
    /// The response without its contents.
    head: Option<Collected>,
    /// `None` once the response is too large to be stored.
    contents: Option<Vec<Content>>,
    bytes: usize,
}

/// What a content counts at least: about the memory of an empty one.
const MIN_CONTENT_BYTES: usize = 64;

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(inner: LayerFuture<S, R, ResponseWatch, Wait>) -> Self {
        Self { inner }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<ToolOutput, ToolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(response) = this.inner.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        match this
            .inner
            .as_mut()
            .watch()
            .and_then(|(_, watch)| watch.take_found())
        {
            Some(found) => Poll::Ready(Ok(this.inner.watch_response(found.into()))),
            None => Poll::Pending,
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// === impl Wait ===

impl Wait {
    pub(super) fn new(claim: Claim, part: &Part, name: &LayerName) -> Self {
        let wait = claim.wait();
        // A timeout layer outside ends the call itself.
        let deadline = part.bound().filter(|_| !part.is_timed());
        Self {
            claim: Some(claim),
            wait: Box::pin(async move {
                match deadline {
                    Some(bound) => timeout_at(bound.at().instant(), wait).await.ok(),
                    None => Some(wait.await),
                }
            }),
            name: name.clone(),
            waits: true,
        }
    }

    /// As [`new`](Self::new), for a call whose response is there already.
    pub(super) fn found(claim: Claim, part: &Part, name: &LayerName) -> Self {
        Self {
            waits: false,
            ..Self::new(claim, part, name)
        }
    }
}

impl Acquire<ResponseWatch> for Wait {
    fn poll_acquire(
        &mut self,
        part: &Part,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        if let Role::Found(_) = watch.0 {
            // The future returns the response: the inner service is not called.
            return Poll::Pending;
        }
        let lead = ready!(self.wait.as_mut().poll(cx));
        let (Some(lead), Some(claim)) = (lead, self.claim.take()) else {
            let expired = part.bound().map(|bound| bound.error(part.context()));
            let error = expired.unwrap_or_else(|| ToolError::failed("polled after its end"));
            return Poll::Ready(Err(error.with_layer(&self.name).with_queue(&self.name)));
        };
        match &*lead {
            None => {
                *watch = ResponseWatch::lead(part, claim, lead);
                Poll::Ready(Ok(()))
            }
            Some(Stored::TooLarge) => Poll::Ready(Err(too_large(&self.name))),
            Some(Stored::Response(response)) => {
                *watch = ResponseWatch::found(response.clone());
                Poll::Pending
            }
        }
    }

    fn queue(&self) -> Option<&LayerName> {
        self.waits.then_some(&self.name)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// Returns the error of a call whose response is not stored since it is too large.
pub(super) fn too_large(name: &LayerName) -> ToolError {
    let text = "a call with this idempotency key succeeded, and its response is too large to share";
    ToolError::failed(text).with_layer(name)
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn off() -> Self {
        Self(Role::Off)
    }

    pub(super) const fn found(response: Collected) -> Self {
        Self(Role::Found(response))
    }

    pub(super) fn lead(part: &Part, claim: Claim, lead: Lead) -> Self {
        part.hold(claim.id());
        Self(Role::Lead(Box::new(Record {
            claim,
            lead,
            head: None,
            contents: Some(Vec::new()),
            bytes: 0,
        })))
    }

    fn take_found(&mut self) -> Option<Collected> {
        match std::mem::replace(&mut self.0, Role::Off) {
            Role::Found(response) => Some(response),
            role => {
                self.0 = role;
                None
            }
        }
    }
}

impl LayerWatch for ResponseWatch {
    fn on_response(&mut self, _: &Part, head: ResponseHead<'_>) {
        if let (Role::Lead(record), ResponseHead::Tool(response)) = (&mut self.0, head) {
            record.set_head(response);
            response
                .as_contents()
                .into_iter()
                .flatten()
                .for_each(|content| record.add(content));
        }
    }

    fn on_item(&mut self, _: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        if let (Role::Lead(record), Item::Content(content)) = (&mut self.0, item) {
            record.add(content);
        }
        ControlFlow::Continue(())
    }

    fn on_end(self, part: &Part, end: &End<'_>) {
        let Role::Lead(record) = self.0 else { return };
        let id = record.claim.id();
        let (claim, lead) = record.end(matches!(end, End::Complete));
        // The lock of the key first, then the claim, which may remove the key.
        part.release_permit(id, (lead, claim));
    }
}

// === impl Record ===

impl Record {
    /// Sets everything but the contents. The metadata counts as its JSON does.
    fn set_head(&mut self, response: &ToolOutput) {
        if let Some(meta) = response.meta() {
            self.count(Content::Json(meta.clone().into()).size());
        }
        self.head = Some(response.to_collected(Vec::new()));
    }

    /// Adds a content, as long as the response is not too large. One that nests too deep is not
    /// copied: copying recurses.
    fn add(&mut self, content: &Content) {
        let is_deep = matches!(content, Content::Json(value) if nests_too_deep(value));
        self.count(content.size().max(MIN_CONTENT_BYTES));
        match &mut self.contents {
            Some(contents) if !is_deep => contents.push(content.clone()),
            contents => *contents = None,
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.claim.max_response_bytes() {
            self.contents = None;
        }
    }

    /// Stores the response if it is complete and a success.
    fn end(mut self, is_complete: bool) -> (Claim, Lead) {
        if let Some(head) = self.head.filter(|head| is_complete && !head.is_error()) {
            let (stored, bytes) = match self.contents {
                Some(contents) => (Stored::Response(head.with_contents(contents)), self.bytes),
                None => (Stored::TooLarge, 0),
            };
            self.claim.store_response(&mut self.lead, stored, bytes);
        }
        (self.claim, self.lead)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Found(_) => "Found",
            Self::Lead(_) => "Lead",
        })
    }
}
