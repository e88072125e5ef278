//! The layers around services of `http::Request`: tool names, contexts, and bodies to their end.

#![cfg(feature = "http")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod heads;
mod keys;
mod requests;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use support::{Outcomes, Probe, ms, pass};
use toolbooth::{BoxError, ConcurrencyLimitLayer, TimeoutLayer, ToolError, ToolRequest};
use tower::{Layer, ServiceExt, service_fn};

/// A body that follows a script, and is inside `probe` until it is dropped.
struct Scripted {
    steps: std::vec::IntoIter<Step>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    hint: SizeHint,
    /// Whether `is_end_stream` returns true after the last step.
    knows_its_end: bool,
    _inside: toolbooth_test::Inside,
}

#[derive(Debug, Clone)]
enum Step {
    Data(&'static str),
    Sleep(Duration),
    Trailers(&'static str),
    Fail(&'static str),
    Pending,
}

impl Scripted {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::inside(&Probe::new(), steps)
    }

    fn inside(probe: &Probe, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect::<Vec<_>>().into_iter(),
            sleep: None,
            hint: SizeHint::new(),
            knows_its_end: false,
            _inside: probe.enter(),
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
            if let [Step::Pending, ..] = self.steps.as_slice() {
                return Poll::Pending;
            }
            return Poll::Ready(match self.steps.next() {
                None | Some(Step::Pending) => None,
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
        self.knows_its_end && self.steps.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn one() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1)
}

fn get() -> Request<()> {
    Request::get("/files/17").body(()).expect("a request")
}

/// A response that declares a length.
fn declared<B>(length: &impl ToString, body: B) -> Response<B> {
    let response = Response::builder().header(http::header::CONTENT_LENGTH, length.to_string());
    response.body(body).expect("a response")
}

/// Sends a request to a service that returns this response, under `limit` and a timeout of 400 ms.
async fn send<B>(
    limit: ConcurrencyLimitLayer,
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

/// A call whose response was received.
struct Call {
    limit: ConcurrencyLimitLayer,
    outcomes: Outcomes,
    context: toolbooth::CallContext,
}

impl Call {
    fn is_running(&self) -> bool {
        self.limit.in_flight() == 1
    }
}

/// The body of this response under a limit of one call and a timeout of 400 ms, and its call.
async fn body_of<B>(
    response: Response<B>,
) -> (Pin<Box<impl Body<Data = B::Data, Error = ToolError>>>, Call)
where
    B: Body<Data: Send, Error: Into<BoxError> + 'static> + Send + 'static,
{
    let (limit, mut request) = (one(), get());
    let context = request.context().clone();
    let outcomes = Outcomes::of(&context);
    let response = send(limit.clone(), request, response).await;
    let call = Call {
        limit,
        outcomes,
        context,
    };
    (Box::pin(response.into_body()), call)
}
