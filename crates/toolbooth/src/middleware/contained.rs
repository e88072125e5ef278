//! A call of which no panic goes on to the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, CallContext, ToolError, ToolRequest};
use tower_service::Service;

pin_project! {
    /// What is inside of a layer, from its readiness to its answer: a panic on the way becomes the error.
    pub(crate) struct Contained<S, R>
    where
        S: Service<R>,
    {
        catches: bool,
        #[pin]
        state: State<S, R>,
    }

    impl<S: Service<R>, R> PinnedDrop for Contained<S, R> {
        fn drop(this: Pin<&mut Self>) {
            // Nobody waits for this call any more: a panic has nowhere to go, and is not to go further up.
            if let Err(panic) = this.drop_inside() {
                tracing::warn!(%panic, "a tool panicked when its call was dropped");
            }
        }
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R>
    where
        S: Service<R>,
    {
        // The instance that was not ready keeps its place.
        Unready { start: Option<(S, R)>, context: CallContext },
        Running { #[pin] future: S::Future },
        Failed { error: Option<ToolError> },
        Done,
    }
}

// === impl Contained ===

impl<S, R> Contained<S, R>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    /// Starts what is inside, with a panic of that caught if `catches`.
    pub(crate) fn start(inner: &mut S, request: R, catches: bool) -> Self
    where
        R: ToolRequest,
    {
        let state = caught(catches, || State::start(inner, request));
        Self {
            catches,
            state: state.unwrap_or_else(State::failed),
        }
    }
}

impl<S: Service<R>, R> Contained<S, R> {
    fn drop_inside(self: Pin<&mut Self>) -> Result<(), ToolError> {
        let mut this = self.project();
        caught(*this.catches, || this.state.set(State::Done))
    }
}

impl<S, R> Future for Contained<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<S::Response, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let catches = self.catches;
        let polled = caught(catches, || self.as_mut().project().state.poll_inside(cx));
        let thrown = match polled {
            Ok(polled) => return polled,
            Err(thrown) => thrown,
        };
        // What panicked is not polled again. Of two panics the first one is the answer.
        if let Err(panic) = self.drop_inside() {
            tracing::warn!(%panic, "a tool that had panicked panicked again when it was dropped");
        }
        Poll::Ready(Err(thrown))
    }
}

// === impl State ===

impl<S: Service<R>, R> State<S, R> {
    const fn failed(error: ToolError) -> Self {
        Self::Failed { error: Some(error) }
    }
}

impl<S, R> State<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
{
    fn start(inner: &mut S, mut request: R) -> Self
    where
        S: Clone,
        R: ToolRequest,
    {
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Running {
                future: inner.call(request),
            },
            Poll::Pending => {
                let context = request.context().clone();
                let fresh = inner.clone();
                Self::Unready {
                    context,
                    start: Some((std::mem::replace(inner, fresh), request)),
                }
            }
            Poll::Ready(Err(error)) => {
                *inner = inner.clone();
                Self::failed(ToolError::from_error(error))
            }
        }
    }

    /// The future that is inside is dropped in the poll in which it completes.
    fn poll_inside(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, ToolError>> {
        loop {
            let next = match self.as_mut().project() {
                StateProj::Running { future } => {
                    let answer = ready!(future.poll(cx));
                    self.set(Self::Done);
                    return Poll::Ready(answer.map_err(ToolError::from_error));
                }
                StateProj::Unready { start, context } => {
                    // Nothing starts in the grace that a timeout further out gives to what runs.
                    if let Some(reason) = context.cancel_reason() {
                        return Poll::Ready(Err(ToolError::cancelled(reason)));
                    }
                    let Some((mut service, request)) = start.take() else {
                        return Poll::Pending;
                    };
                    match service.poll_ready(cx) {
                        Poll::Ready(Ok(())) => Self::Running {
                            future: service.call(request),
                        },
                        Poll::Ready(Err(error)) => Self::failed(ToolError::from_error(error)),
                        Poll::Pending => {
                            *start = Some((service, request));
                            return Poll::Pending;
                        }
                    }
                }
                StateProj::Failed { error } => {
                    return error
                        .take()
                        .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                StateProj::Done => return Poll::Pending,
            };
            self.set(next);
        }
    }
}

/// Runs foreign code; a panic becomes the error, if `catches`.
fn caught<T>(catches: bool, run: impl FnOnce() -> T) -> Result<T, ToolError> {
    if !catches {
        return Ok(run());
    }
    // Nothing that the panic may have left half-made is used again: the future is dropped, and the
    // service stays in the state in which any other caller of it would find it after such a panic.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| ToolError::from_panic(&*panic))
}
