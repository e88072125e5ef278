//! Requests of HTTP: which methods are idempotent, and which responses are repeated.

use http::{Method, StatusCode};
use toolbooth::{EventsLayer, PerTool, ToolName, ToolRequest};

use super::*;

/// A service whose requests hang, or which returns a status and `Retry-After`.
#[derive(Clone)]
enum Api {
    Hangs,
    Returns(StatusCode, &'static str),
}

fn request(method: Method) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.method_mut() = method;
    request
}

/// The times of the attempts that `api` receives, and the status or the error of the call.
async fn attempts(
    policy: RetryPolicy,
    api: Api,
    request: Request<String>,
) -> (Vec<Duration>, Result<StatusCode, ToolError>) {
    let starts = Starts::new();
    let log = starts.clone();
    let service = service_fn(move |_: Request<String>| {
        log.record(());
        let api = api.clone();
        async move {
            match api {
                Api::Hangs => std::future::pending().await,
                Api::Returns(status, retry_after) => {
                    let response = Response::builder().status(status);
                    Ok::<_, BoxError>(
                        response
                            .header("retry-after", retry_after)
                            .body(String::new())?,
                    )
                }
            }
        }
    });
    let stack = (RetryLayer::new(policy), TimeoutLayer::new(ms(50))).layer(service);
    let result = stack.oneshot(request).await;
    (starts.times(), result.map(|response| response.status()))
}

async fn orders(policy: RetryPolicy, request: Request<String>) -> usize {
    let (times, result) = attempts(policy, Api::Hangs, request).await;
    assert_eq!(
        result.expect_err("a timeout").kind(),
        toolbooth::ErrorKind::Timeout
    );
    times.len()
}

/// Case A2. Requests are repeated by their method: RFC 9110, 9.2.2.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn started_requests_are_retried_by_their_method() {
    for (method, expected) in [
        (Method::GET, 3),
        (Method::HEAD, 3),
        (Method::OPTIONS, 3),
        (Method::TRACE, 3),
        (Method::PUT, 3),
        (Method::DELETE, 3),
        (Method::POST, 1),
        (Method::PATCH, 1),
        (Method::CONNECT, 1),
        (Method::from_bytes(b"PURGE").unwrap(), 1),
    ] {
        assert_eq!(
            orders(at_once(3), request(method.clone())).await,
            expected,
            "{method}"
        );
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn idempotency_key_makes_a_request_idempotent() {
    let mut keyed = request(Method::POST);
    keyed
        .headers_mut()
        .insert("idempotency-key", "7".parse().unwrap());
    assert_eq!(orders(at_once(3), keyed).await, 3);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn setting_of_the_policy_precedes_the_method() {
    let all = |idempotent| at_once(2).with_idempotent(idempotent);
    assert_eq!(orders(all(true), request(Method::POST)).await, 2);
    assert_eq!(orders(all(false), request(Method::GET)).await, 1);
    let tools = || PerTool::none().with("trigger", false).with("POST *", true);
    let mut trigger = request(Method::GET);
    trigger.extensions_mut().insert(ToolName::new("trigger"));
    let tools = || at_once(2).with_idempotent(tools());
    assert_eq!(orders(tools(), trigger).await, 1);
    assert_eq!(orders(tools(), request(Method::GET)).await, 2);
    assert_eq!(orders(tools(), request(Method::POST)).await, 2);
}

#[test]
fn request_is_idempotent_by_its_method_alone_without_a_setting() {
    assert_eq!(request(Method::GET).idempotent(), Some(true));
    assert_eq!(request(Method::POST).idempotent(), None);
    assert_eq!(call().idempotent(), None);
    assert_eq!(call().with_idempotent(false).idempotent(), Some(false));
}

fn unavailable() -> RetryPolicy {
    at_once(3).with_responses(|head| match head {
        ResponseHead::Http(head) => head.status == 503 && head.headers.contains_key("retry-after"),
        _ => false,
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_is_retried_only_if_it_is_selected_and_its_request_idempotent() {
    let down = Api::Returns(StatusCode::SERVICE_UNAVAILABLE, "0");
    for (policy, api, method, expected) in [
        (at_once(3), down.clone(), Method::GET, 1),
        (unavailable(), down.clone(), Method::GET, 3),
        (unavailable(), down.clone(), Method::POST, 1),
        (
            unavailable(),
            Api::Returns(StatusCode::NOT_FOUND, "0"),
            Method::GET,
            1,
        ),
    ] {
        let status = match &api {
            Api::Returns(status, _) => *status,
            Api::Hangs => unreachable!("it returns"),
        };
        let (times, result) = attempts(policy, api, request(method)).await;
        assert_eq!((times.len(), result.unwrap()), (expected, status));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn retry_after_of_a_response_is_a_lower_bound_of_the_wait_and_bounded() {
    let times = async |retry_after| {
        let down = Api::Returns(StatusCode::SERVICE_UNAVAILABLE, retry_after);
        attempts(unavailable(), down, request(Method::GET)).await.0
    };
    assert_eq!(times("2").await, [0, 2_000, 4_000].map(ms));
    assert_eq!(times("61").await, [ms(0)]);
    assert_eq!(times("99999999999999999999999").await, [ms(0)]);
    for no_seconds in ["Fri, 31 Dec 1999 23:59:59 GMT", "-2", "+2", "2.5", ""] {
        assert_eq!(times(no_seconds).await, [ms(0); 3], "{no_seconds}");
    }
}

/// The predicate sees the head, and the caller receives it unchanged.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn inspected_response_is_returned_whole() {
    let api = service_fn(async |request: Request<String>| {
        let response = Response::builder()
            .status(207)
            .header("a", "1")
            .header("a", "2");
        Ok::<_, BoxError>(response.extension(7_u8).body(request.into_body())?)
    });
    let policy = at_once(2).with_responses(|head| match head {
        ResponseHead::Http(head) => {
            let values = head.headers.get_all("a").iter().count();
            assert_eq!((values, head.extensions.get::<u8>()), (2, Some(&7)));
            false
        }
        _ => true,
    });
    let request = Request::new("body".to_owned());
    let response = RetryLayer::new(policy)
        .layer(api)
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(response.status(), 207);
    assert_eq!(response.headers().get_all("a").iter().count(), 2);
    assert_eq!(response.extensions().get::<u8>(), Some(&7));
    assert_eq!(response.into_body(), "body");
}

/// The tool has worked: its response is not lost.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_in_the_predicate_selects_no_response() {
    let policy = at_once(3).with_responses(|_| panic!("in the predicate"));
    let ok = Api::Returns(StatusCode::OK, "0");
    let (times, result) = attempts(policy, ok, request(Method::GET)).await;
    assert_eq!((times.len(), result.unwrap()), (1, StatusCode::OK));
}

/// A request that succeeds deposits one retry, a response that is selected none.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn successful_request_deposits_once_and_a_failing_response_nothing() {
    let budget = toolbooth::RetryBudget::new(1.0, 0).unwrap();
    let policy = || unavailable().with_budget(budget.clone());
    let down = || Api::Returns(StatusCode::SERVICE_UNAVAILABLE, "0");
    for _ in 0..3 {
        let (times, _) = attempts(policy(), down(), request(Method::GET)).await;
        assert_eq!(times.len(), 1);
    }
    let ok = Api::Returns(StatusCode::OK, "0");
    attempts(policy(), ok, request(Method::GET))
        .await
        .1
        .unwrap();
    let retries = async || {
        attempts(policy(), down(), request(Method::GET))
            .await
            .0
            .len()
            - 1
    };
    assert_eq!((retries().await, retries().await), (1, 0));
}

/// A layer without a sink is a layer: the attempts belong to one call.
#[tokio::test(start_paused = true)]
async fn attempts_inside_of_an_events_layer_without_a_sink_are_of_one_call() {
    let calls = Recorder::new();
    let log = calls.clone();
    let service = service_fn(move |mut request: Request<String>| {
        let context = request.context();
        log.record((context.id(), context.attempt()));
        async { Err::<Response<String>, _>(retryable()) }
    });
    let stack = (EventsLayer::off(), RetryLayer::new(at_once(2))).layer(service);
    assert!(stack.oneshot(request(Method::GET)).await.is_err());
    let calls = calls.values();
    assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(calls[0].0, calls[1].0);
}
