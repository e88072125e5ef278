//! Responses without a body: they end the call at once, whatever their body reports.

use http_body_util::Empty;
use toolbooth::{CleanupLayer, Outcome, PartialResultLayer, Quota, RateLimitLayer};

use super::*;

fn pending() -> Scripted {
    Scripted::new([Step::Pending])
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn status_without_a_body_ends_the_call_at_once() {
    for status in [204, 304, 101] {
        let response = Response::builder().status(status).body(pending());
        let (_body, call) = body_of(response.unwrap()).await;
        assert!(!call.is_running());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
    }
    // A response to HEAD declares a length, and its body is empty.
    let (_body, call) = body_of(declared(&500, Empty::<Bytes>::new())).await;
    assert!(!call.is_running());
    assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_to_head_and_to_connect_ends_the_call_at_once() {
    let limit = one();
    for (method, status, ends) in [
        ("HEAD", 200, true),
        ("HEAD", 404, true),
        ("CONNECT", 200, true),
        // Only a success opens a tunnel.
        ("CONNECT", 404, false),
        ("GET", 200, false),
    ] {
        let (case, mut request) = (format!("{method} {status}"), get());
        *request.method_mut() = method.parse().unwrap();
        request.context();
        // The clone is a later attempt: the method is known there, too.
        let mut request = request.clone();
        let outcomes = Outcomes::of(request.context());
        let response = Response::builder().status(status).body(pending());
        let response = send(limit.clone(), request, response.unwrap()).await;
        assert_eq!(limit.in_flight(), usize::from(!ends), "{case}");
        drop(response);
        assert_eq!(limit.in_flight(), 0, "{case}");
        let outcome = match ends {
            true => Outcome::Completed,
            false => Outcome::Cancelled,
        };
        assert_eq!(outcomes.all().await, [outcome], "{case}");
    }
}

/// Asserts that a layer alone completes the call of a HEAD request without polling the body.
macro_rules! assert_completes_head {
    ($layer:expr) => {
        let mut request = Request::head("/").body(()).unwrap();
        let outcomes = Outcomes::of(request.context());
        let tool = service_fn(async |_: Request<()>| Ok::<_, ToolError>(Response::new(pending())));
        drop($layer.layer(tool).oneshot(request).await.unwrap());
        let outcomes = outcomes.all().await;
        assert_eq!(outcomes, [Outcome::Completed], "{}", stringify!($layer));
    };
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn every_layer_ends_the_call_of_a_head_request_at_once() {
    let quota = Quota::per_second(std::num::NonZeroU32::MIN);
    assert_completes_head!(TimeoutLayer::new(ms(400)));
    assert_completes_head!(one());
    assert_completes_head!(RateLimitLayer::new(quota));
    assert_completes_head!(CleanupLayer::new());
    assert_completes_head!(PartialResultLayer::new());
}
