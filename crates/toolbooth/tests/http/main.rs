//! The layers around plain `http` services: names, contexts, and bodies to their last frame.

#![cfg(feature = "http")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod heads;
mod requests;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use support::{Count, OnDrop, Told, ms, pass, told};
use toolbooth::{BoxError, ConcurrencyLimitLayer, TimeoutLayer, ToolError, ToolRequest};
use tower::{Layer, ServiceExt, service_fn};

/// A body that follows a script.
struct Scripted {
    steps: std::vec::IntoIter<Step>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    hint: SizeHint,
    /// Whether it says that it is at its end as soon as it is.
    says_its_end: bool,
    _dropped: OnDrop,
}

#[derive(Debug, Clone)]
enum Step {
    Data(&'static str),
    Sleep(Duration),
    Trailers(&'static str),
    Fail(&'static str),
    Stuck,
}

impl Scripted {
    fn new(dropped: &Count, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect::<Vec<_>>().into_iter(),
            sleep: None,
            hint: SizeHint::new(),
            says_its_end: false,
            _dropped: dropped.on_drop(),
        }
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            if let [Step::Stuck, ..] = self.steps.as_slice() {
                return Poll::Pending;
            }
            return Poll::Ready(match self.steps.next() {
                None | Some(Step::Stuck) => None,
                Some(Step::Data(text)) => Some(Ok(Frame::data(Bytes::from(text)))),
                Some(Step::Trailers(name)) => {
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert(name, http::HeaderValue::from_static("yes"));
                    Some(Ok(Frame::trailers(trailers)))
                }
                Some(Step::Fail(text)) => Some(Err(text.into())),
                Some(Step::Sleep(time)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says_its_end && self.steps.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn one() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1)
}

/// A request, and what its hook will be told.
fn get() -> (Request<()>, Told) {
    let mut request = Request::get("/files/17").body(()).expect("a request");
    let told = told(request.context());
    (request, told)
}

/// Calls a tool that answers with this response, under a limit of one call at a time.
async fn limited<B>(
    limit: &ConcurrencyLimitLayer,
    request: Request<()>,
    response: Response<B>,
) -> Response<impl Body<Data = B::Data, Error = ToolError>>
where
    B: Body<Data: Send, Error: Into<BoxError> + 'static> + Send + 'static,
{
    let response = std::sync::Mutex::new(Some(response));
    let response = std::sync::Arc::new(response);
    let tool = service_fn(move |_: Request<()>| {
        let response = response.lock().expect("no panic under it").take();
        std::future::ready(Ok::<_, ToolError>(response.expect("one call")))
    });
    let stack = TimeoutLayer::new(ms(400)).layer(limit.layer(tool));
    stack.oneshot(request).await.expect("a response")
}
