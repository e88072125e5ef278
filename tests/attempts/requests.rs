//! Attempts of one HTTP request.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use toolbooth::{BoxError, ToolName, ToolRequest};
use tower::retry::Retry;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, service_fn};

use super::*;

type Api = BoxCloneSyncService<Request<Full<Bytes>>, Response<ApiBody>, ToolError>;
type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

fn boxed_api<S, B>(service: S) -> Api
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service.map_response(|response: Response<B>| {
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    });
    Api::new(service.map_err(ToolError::from_error))
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from("ask"));
    request.extensions_mut().insert(ToolName::new("api"));
    request
}

/// An API whose attempts do what [`attempt`] does; the third may complete instead.
fn api(completes: bool, seen: &Recorder<Seen>, hooks: &Recorder<(u32, Outcome)>) -> Api {
    let (seen, hooks) = (seen.clone(), hooks.clone());
    boxed_api(service_fn(move |mut request: Request<Full<Bytes>>| {
        let context = request.context().clone();
        let number = context.attempt();
        let failed = attempt(context, seen.clone(), hooks.clone());
        async move {
            let asked = request.into_body().collect().await?.to_bytes();
            let failed = failed.await;
            match completes && number == 3 {
                true => Ok(Response::new(Full::new(asked))),
                false => Err(BoxError::from(failed)),
            }
        }
    }))
}

/// Three attempts inside the first `outside` of the five layers.
fn retried(layers: &Layers, outside: usize, api: Api) -> Api {
    let wrap = |kinds: &[Kind], api| {
        let innermost_first = kinds.iter().rev();
        innermost_first.fold(api, |api, kind| match kind {
            Kind::Timeout => boxed_api(layers.timeout.layer(api)),
            Kind::Rate => boxed_api(layers.rate.layer(api)),
            Kind::Concurrency => boxed_api(layers.limit.layer(api)),
            Kind::Cleanup => boxed_api(layers.cleanup.layer(api)),
            Kind::Partial => boxed_api(layers.partial.layer(api)),
        })
    };
    let (outer, inner) = Kind::ALL.split_at(outside);
    wrap(outer, boxed_api(Retry::new(retries(2), wrap(inner, api))))
}

#[tokio::test(start_paused = true)]
async fn three_attempts_of_one_http_request_in_every_position() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let (layers, seen, hooks) = (layers(), Recorder::new(), Recorder::new());
        let stack = retried(&layers, outside, api(false, &seen, &hooks));
        let mut request = request();
        // Outermost, the retry clones the request first, so that the caller creates the context.
        let context = (outside == 0).then(|| request.context().clone());
        let error = stack.oneshot(request).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "attempt 3", "{case}");
        assert_eq!(error.tool(), Some("api"), "{case}");
        assert_eq!(texts(error.partial()), ["3.1", "3.2"], "{case}");
        let id = error.call_id().unwrap();
        assert!(context.is_none_or(|context| context.id() == id), "{case}");
        assert_eq!(seen.values(), Seen::three(id), "{case}");
        layers.assert_released(&case);
        let spent = if outside <= 1 { 3 } else { 1 };
        assert_eq!(layers.rate.remaining(), Layers::TOKENS - spent, "{case}");
        let report = layers.cleanup.drain(MINUTE).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (3, 0, 0));
        let order = if outside <= 3 { [1, 2, 3] } else { [3, 2, 1] };
        let expected = order.map(|attempt| (attempt, Outcome::Failed));
        assert_eq!(hooks.values(), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn end_of_the_body_of_the_last_attempt_ends_the_call() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let (layers, seen, hooks) = (layers(), Recorder::new(), Recorder::new());
        let stack = retried(&layers, outside, api(true, &seen, &hooks));
        let mut request = request();
        request.context();
        let response = stack.oneshot(request).await.unwrap();
        assert_eq!(layers.limit.in_flight(), 1, "{case}");
        tokio::task::yield_now().await;
        assert_eq!(hooks.len(), if outside <= 3 { 2 } else { 0 }, "{case}");

        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "ask", "{case}");
        layers.assert_released(&case);
        assert_eq!(seen.len(), 3, "{case}");
        layers.cleanup.drain(MINUTE).await;
        let (failed, completed) = (Outcome::Failed, Outcome::Completed);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, failed), (3, completed)],
            false => [(3, completed), (2, completed), (1, completed)],
        };
        assert_eq!(hooks.values(), expected, "{case}");
    }
}
