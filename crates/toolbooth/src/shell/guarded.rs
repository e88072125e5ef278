//! The one future of every layer: wait for what the layer needs, start what is inside, follow it to its end.
//!
//! 1. The layer is told the end once, by value, after everything inside is gone and before the caller sees it.
//! 2. The inner service is polled for readiness only here. An instance that was not ready keeps
//!    its place: it is the one that the future polls again, and a fresh clone stays behind.
//! 3. While the layer waits for its own admission, nothing inside has been polled.
//! 4. A future that is at its end is dropped in that very poll, before its result is looked at.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
use toolbooth_core::CallContext;
use toolbooth_core::{BoxError, CancelReason, End, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

/// A watch that holds its layer's part of the call.
pub(crate) trait LayerWatch: Watch {
    /// None for a layer that took all it needs and leaves the end to the layers around it.
    fn part(&self) -> Option<&Part>;
}

/// What a layer waits for before anything inside starts. What it takes goes into the watch.
pub(crate) trait Admit<W>: Unpin {
    fn poll_admit(&mut self, watch: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>>;
}

/// What a layer makes of a call that comes.
#[cfg(any(feature = "concurrency", feature = "rate"))]
pub(crate) enum Entry<W, A> {
    Start(W),
    Wait(W, A),
    Refuse(W, ToolError),
}

/// For layers that wait for nothing.
#[derive(Debug)]
pub(crate) enum Never {}

pin_project! {
    pub(crate) struct Guarded<S, R, W: LayerWatch, A = Never>
    where
        S: Service<R>,
    {
        #[pin]
        stage: Stage<S, R, A>,
        // Until the end is told.
        watch: Option<W>,
    }

    impl<S: Service<R>, R, W: LayerWatch, A> PinnedDrop for Guarded<S, R, W, A> {
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

pin_project! {
    #[project = StageProj]
    enum Stage<S, R, A>
    where
        S: Service<R>,
    {
        Running { #[pin] future: S::Future },
        // On the heap: a call that need not wait is not the longer for it, in each layer, nested.
        Held { held: Option<Box<Held<S, R, A>>> },
        Refused { error: Option<Box<ToolError>> },
        // Dropped in it only where foreign code panicked.
        Starting,
        Done,
    }
}

/// A call that waits: for its admission while there is one, then for the inner service to be ready.
struct Held<S, R, A> {
    admission: Option<A>,
    service: S,
    request: R,
}

/// Around everything that runs foreign code: a panic ends the call as one.
struct Armed<'a, S: Service<R>, R, W: LayerWatch, A>(Option<Pin<&'a mut Guarded<S, R, W, A>>>);

/// A watch on its way to being told the end; or told of a panic, where there was one.
struct Untold<W: Watch>(Option<W>);

/// The same for a part that has no watch yet.
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
struct Unended(Option<Part>);

/// Asks what the user said about calls of this one; a panic of that ends the call as one.
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
pub(crate) fn ask<T>(part: Part, user: impl FnOnce(&CallContext) -> T) -> (Part, T) {
    let mut unended = Unended(None);
    let said = user(unended.0.insert(part).context());
    let part = unended.0.take();
    (part.expect("only a panic ends it here"), said)
}

fn part_of<W: LayerWatch>(watch: &Option<W>) -> Option<&Part> {
    watch.as_ref().and_then(LayerWatch::part)
}

/// Nothing starts in the grace that a timeout gives to what runs.
fn not_cancelled(part: Option<&Part>) -> Result<(), ToolError> {
    match part.and_then(|part| part.context().cancel_reason()) {
        Some(reason) => Err(ToolError::cancelled(reason)),
        None => Ok(()),
    }
}

// === impl Guarded ===

impl<S, R, W, A> Guarded<S, R, W, A>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
    W: LayerWatch,
{
    /// Lets a call in, or not.
    #[cfg(any(feature = "concurrency", feature = "rate"))]
    #[cold]
    pub(crate) fn enter(inner: &mut S, request: R, entry: Entry<W, A>) -> Self
    where
        S: Clone,
    {
        match entry {
            Entry::Start(watch) => Self::start_unless_cut(inner, request, watch),
            Entry::Wait(watch, admission) => Self::wait(inner, request, watch, admission),
            Entry::Refuse(watch, error) => Self::refuse(error, watch),
        }
    }

    /// Starts what is inside, unless the call was cut before.
    #[cfg_attr(
        not(any(
            feature = "breaker",
            feature = "catch-panic",
            feature = "cleanup",
            feature = "concurrency",
            feature = "partial",
            feature = "rate",
            feature = "spawn"
        )),
        expect(dead_code, reason = "a timeout looks for itself")
    )]
    #[inline(always)]
    pub(crate) fn start_unless_cut(inner: &mut S, request: R, watch: W) -> Self
    where
        S: Clone,
    {
        match watch.part().and_then(Part::cut) {
            None => Self::start(inner, request, watch),
            Some(reason) => Self {
                stage: Stage::refused(ToolError::cancelled(reason)),
                watch: Some(watch),
            },
        }
    }

    /// Starts what is inside.
    #[inline(always)]
    pub(crate) fn start(inner: &mut S, request: R, watch: W) -> Self
    where
        S: Clone,
    {
        // Made before what may panic: nothing is moved only to be told of that.
        let mut this = Self::starting(watch);
        let reading = part_of(&this.watch).map(Part::carry);
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let future = inner.call(request);
                drop(reading);
                this.stage = Stage::Running { future };
            }
            not_ready => {
                drop(reading);
                this.stage = Stage::not_ready(not_ready, inner, request);
            }
        }
        this
    }

    const fn starting(watch: W) -> Self {
        Self {
            stage: Stage::Starting,
            watch: Some(watch),
        }
    }

    /// Waits for admission first.
    #[cfg(any(feature = "concurrency", feature = "rate"))]
    fn wait(inner: &S, request: R, watch: W, admission: A) -> Self
    where
        S: Clone,
    {
        if let Some(part) = watch.part() {
            part.hold_back();
        }
        let mut this = Self::starting(watch);
        this.stage = Stage::held(Some(admission), inner.clone(), request);
        this
    }

    /// Refuses the call; nothing inside is touched.
    #[cfg_attr(
        not(any(
            feature = "breaker",
            feature = "timeout",
            feature = "concurrency",
            feature = "rate",
            feature = "cleanup"
        )),
        expect(dead_code, reason = "only limits refuse")
    )]
    pub(crate) fn refuse(error: ToolError, watch: W) -> Self {
        if let Some(part) = watch.part() {
            part.hold_back();
        }
        Self {
            stage: Stage::refused(error),
            watch: Some(watch),
        }
    }
}

impl<S: Service<R>, R, W: LayerWatch, A> Guarded<S, R, W, A> {
    /// What the layer follows the call with, until the end.
    #[cfg_attr(
        not(feature = "timeout"),
        expect(dead_code, reason = "only a timeout cuts from outside")
    )]
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
    W: LayerWatch,
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

fn poll_admission<W: LayerWatch>(
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
    W: LayerWatch,
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
                let cut = part.map_or(Poll::Pending, |part| part.poll_cut(cx));
                let reason = ready!(cut);
                Poll::Ready(Err(self.fail(ToolError::cancelled(reason))))
            }
        }
    }
}

// === impl Stage ===

impl<S: Service<R>, R, A> Stage<S, R, A> {
    #[cold]
    fn refused(error: ToolError) -> Self {
        Self::Refused {
            error: Some(Box::new(error)),
        }
    }

    fn held(admission: Option<A>, service: S, request: R) -> Self {
        let held = Held {
            admission,
            service,
            request,
        };
        Self::Held {
            held: Some(Box::new(held)),
        }
    }

    /// The instance that is waited for, or broken, is replaced by a fresh one.
    #[cold]
    fn not_ready(ready: Poll<Result<(), S::Error>>, inner: &mut S, request: R) -> Self
    where
        S: Clone,
        S::Error: Into<BoxError> + 'static,
    {
        let fresh = inner.clone();
        let instance = std::mem::replace(inner, fresh);
        match ready {
            Poll::Ready(Err(error)) => Self::refused(ToolError::from_error(error)),
            _ => Self::held(None, instance, request),
        }
    }
}

// === impl Armed, Untold, Unended ===

impl<S: Service<R>, R, W: LayerWatch, A> Drop for Armed<'_, S, R, W, A> {
    fn drop(&mut self) {
        if let Some(guarded) = self.0.take() {
            guarded.end(End::Panicked);
        }
    }
}

impl<W: Watch> Drop for Untold<W> {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            watch.on_end(End::Panicked);
        }
    }
}

#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
impl Drop for Unended {
    fn drop(&mut self) {
        if let Some(part) = self.0.take() {
            part.end(End::Panicked, |_, _| ());
        }
    }
}

// === impl Never ===

impl<W> Admit<W> for Never {
    fn poll_admit(&mut self, _: &mut W, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        match *self {}
    }
}
