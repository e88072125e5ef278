//! The tools that the layers wrap. They do as little as possible.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::Service;

/// A tool whose response is ready at the first poll.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce;

/// A tool whose response is ready at the second poll. The first poll wakes the task.
#[derive(Debug, Clone, Copy)]
pub struct YieldsOnce;

/// The future of [`YieldsOnce`]. It stores whether it was polled.
#[derive(Debug)]
pub struct Yielding(bool);

impl<R> Service<R> for AtOnce {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        std::hint::black_box(&request);
        ready(Ok(()))
    }
}

impl<R> Service<R> for YieldsOnce {
    type Response = ();
    type Error = Infallible;
    type Future = Yielding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Yielding {
        std::hint::black_box(&request);
        Yielding(false)
    }
}

impl Future for Yielding {
    type Output = Result<(), Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
