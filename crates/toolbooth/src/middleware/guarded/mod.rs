//! The one future of every layer: wait for what the layer needs, start what is inside, follow it to its end.
//!
//! 1. The layer is told the end once, by value, after everything inside is gone and before the caller sees it.
//! 2. The inner service is polled for readiness only here. An instance that was not ready keeps
//!    its place: it is the one that the future polls again, and a fresh clone stays behind.
//! 3. While the layer waits for its own admission, nothing inside has been polled.
//! 4. A future that is at its end is dropped in that very poll, before its result is looked at.

mod panics;
mod stage;
mod start;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, CancelReason, End, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

pub(crate) use self::panics::ask;
use self::panics::{Armed, Untold};
use self::stage::{Held, Stage, StageProj};
pub(crate) use self::start::Decision;

/// What a layer waits for before anything inside starts. What it takes goes into the watch.
pub(crate) trait Admit<W>: Unpin {
    fn poll_admit(&mut self, watch: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>>;
}

/// For layers that wait for nothing.
#[derive(Debug)]
pub(crate) enum Never {}

pin_project! {
    pub(crate) struct Guarded<S, R, W: Watch, A = Never>
    where
        S: Service<R>,
    {
        #[pin]
        stage: Stage<S, R, A>,
        // Until the end is told.
        watch: Option<W>,
    }

    impl<S: Service<R>, R, W: Watch, A> PinnedDrop for Guarded<S, R, W, A> {
        fn drop(this: Pin<&mut Self>) {
            let Some(watch) = &this.watch else { return };
            if matches!(this.stage, Stage::Starting) {
                return this.end(End::Panicked);
            }
            // The tool is told why before it is dropped.
            if let Some(part) = watch.part() {
                part.cancel_dropped();
            }
            this.end(End::Dropped(CancelReason::CallerGone));
        }
    }
}

fn part_of<W: Watch>(watch: &Option<W>) -> Option<&Part> {
    watch.as_ref().and_then(Watch::part)
}

/// Nothing starts in the grace that a timeout gives to what runs.
fn not_cancelled(part: Option<&Part>) -> Result<(), ToolError> {
    match part.and_then(|part| part.context().cancel_reason()) {
        Some(reason) => Err(ToolError::cancelled(reason)),
        None => Ok(()),
    }
}

// === impl Guarded ===

impl<S: Service<R>, R, W: Watch, A> Guarded<S, R, W, A> {
    /// What the layer follows the call with, until the end.
    pub(crate) fn watch(self: Pin<&mut Self>) -> Option<&mut W> {
        self.project().watch.as_mut()
    }

    /// Cuts the call: what is inside is dropped, then the end is told; the error comes back complete.
    pub(crate) fn fail(self: Pin<&mut Self>, mut error: ToolError) -> ToolError {
        self.end(End::Failed(&mut error));
        error
    }

    fn end(self: Pin<&mut Self>, end: End<'_>) {
        let mut this = self.project();
        // Should a drop of what is inside panic, the end is told all the same.
        let mut untold = Untold(this.watch.take());
        this.stage.set(Stage::Done);
        if let Some(watch) = untold.0.take() {
            watch.on_end(end);
        }
    }
}

impl<S, R, W, A> Guarded<S, R, W, A>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
    W: Watch,
    A: Admit<W>,
{
    /// The stages up to the answer. At the answer the inner future is gone.
    #[inline(always)]
    pub(crate) fn poll_stage(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, ToolError>> {
        let mut armed = Armed(Some(self));
        let polled = match &mut armed.0 {
            Some(guarded) => guarded.as_mut().poll_unarmed(cx),
            None => Poll::Pending,
        };
        armed.0 = None;
        polled
    }

    #[inline(always)]
    fn poll_unarmed(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, ToolError>> {
        loop {
            let mut stage = self.as_mut().project().stage;
            if let StageProj::Running { future } = stage.as_mut().project() {
                return match ready!(future.poll(cx)) {
                    Ok(answer) => {
                        stage.set(Stage::Done);
                        Poll::Ready(Ok(answer))
                    }
                    Err(error) => {
                        stage.set(Stage::Done);
                        Poll::Ready(Err(ToolError::from_error(error)))
                    }
                };
            }
            ready!(self.as_mut().poll_start(cx))?;
        }
    }

    /// The stages up to the start of what is inside.
    #[cold]
    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        let mut this = self.project();
        let held = match this.stage.as_mut().project() {
            StageProj::Held { held } => held,
            StageProj::Refused { error } => {
                let error = error.take().expect("polled after it was done");
                return Poll::Ready(Err(*error));
            }
            StageProj::Running { .. } => return Poll::Ready(Ok(())),
            StageProj::Starting | StageProj::Done => return Poll::Pending,
        };
        not_cancelled(part_of(this.watch))?;
        let waits = held.as_mut().expect("it is taken to leave the stage");
        if let (Some(admission), Some(watch)) = (&mut waits.admission, this.watch.as_mut()) {
            ready!(poll_admission(admission, watch, cx))?;
            waits.admission = None;
        }
        ready!(waits.service.poll_ready(cx)).map_err(ToolError::from_error)?;
        let Held {
            mut service,
            request,
            ..
        } = *held.take().expect("it was there before");
        // Whoever waited reads the clock anew, once for all layers further in.
        let reading = part_of(this.watch).map(Part::carry_now);
        let future = service.call(request);
        drop(reading);
        this.stage.set(Stage::Running { future });
        Poll::Ready(Ok(()))
    }
}

fn poll_admission<W: Watch>(
    admission: &mut impl Admit<W>,
    watch: &mut W,
    cx: &mut Context<'_>,
) -> Poll<Result<(), ToolError>> {
    ready!(admission.poll_admit(watch, cx))?;
    if let Some(part) = watch.part() {
        part.let_through();
    }
    Poll::Ready(Ok(()))
}

impl<S, R, W, A> Future for Guarded<S, R, W, A>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
    W: Watch,
    A: Admit<W>,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<W>, ToolError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().poll_stage(cx) {
            Poll::Ready(Ok(answer)) => {
                let watch = self
                    .project()
                    .watch
                    .take()
                    .expect("polled after it was done");
                Poll::Ready(Ok(answer.watch(watch)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(error))),
            Poll::Pending => {
                let part = part_of(self.as_mut().project().watch);
                let cut = part.map_or(Poll::Pending, |part| part.poll_cancelled(cx));
                let reason = ready!(cut);
                Poll::Ready(Err(self.fail(ToolError::cancelled(reason))))
            }
        }
    }
}

// === impl Never ===

impl<W> Admit<W> for Never {
    fn poll_admit(&mut self, _: &mut W, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        match *self {}
    }
}
