//! How a call comes into its layer: it starts, waits, or is refused.

use std::task::{Context, Poll, Waker};

use toolbooth_core::{BoxError, Part, ToolError, Watch};
use tower_service::Service;

use super::{Guarded, Stage, part_of};

/// What a layer makes of a call that comes.
pub(crate) enum Decision<W, A> {
    Start(W),
    Wait(W, A),
    Reject(W, ToolError),
}

impl<S, R, W, A> Guarded<S, R, W, A>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
    W: Watch,
{
    /// Lets a call in, or not.
    #[cold]
    pub(crate) fn enter(inner: &mut S, request: R, entry: Decision<W, A>) -> Self
    where
        S: Clone,
    {
        match entry {
            Decision::Start(watch) => Self::start_unless_cut(inner, request, watch),
            Decision::Wait(watch, admission) => Self::wait(inner, request, watch, admission),
            Decision::Reject(watch, error) => Self::reject(error, watch),
        }
    }

    /// Starts what is inside, unless the call was cut before.
    #[inline(always)]
    pub(crate) fn start_unless_cut(inner: &mut S, request: R, watch: W) -> Self
    where
        S: Clone,
    {
        match watch.part().and_then(Part::cancelled_before_start) {
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
    pub(crate) fn reject(error: ToolError, watch: W) -> Self {
        if let Some(part) = watch.part() {
            part.hold_back();
        }
        Self {
            stage: Stage::refused(error),
            watch: Some(watch),
        }
    }
}
