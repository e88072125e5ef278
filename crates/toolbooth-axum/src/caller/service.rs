use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::http::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use toolbooth::RequestHead;
use tower_service::Service;

use super::CallerLayer;
use crate::Problem;

/// Adds to requests what they state about their callers. Made by [`CallerLayer`].
#[derive(Debug, Clone)]
pub struct CallerService<S> {
    inner: S,
    layer: CallerLayer,
}

// === impl CallerService ===

impl<S> CallerService<S> {
    pub(super) const fn new(inner: S, layer: CallerLayer) -> Self {
        Self { inner, layer }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B> Service<Request<B>> for CallerService<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    /// As ready as the inner service.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let found: Result<_, Problem> = self.layer.read(&RequestHead::from(&parts));
        match found {
            Ok(found) => {
                parts.extensions.extend(found);
                let request = Request::from_parts(parts, body);
                Either::Left(self.inner.call(request))
            }
            Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
        }
    }
}
