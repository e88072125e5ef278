//! Answers that are over with their head, whatever their body looks like.

use http::header;
use http_body_util::Empty;
use toolbooth::{CleanupLayer, Outcome, PartialResultLayer, Quota, RateLimitLayer};

use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn head_without_a_body_completes_at_once_whatever_its_body_says() {
    let limit = one();
    for status in [204, 304, 101] {
        let (request, told) = get();
        let stuck = Scripted::new(&Count::default(), [Step::Stuck]);
        let response = Response::builder().status(status).body(stuck).unwrap();
        let _response = limited(&limit, request, response).await;
        assert_eq!(limit.in_flight(), 0);
        assert_eq!(told.outcomes().await, [Outcome::Completed]);
    }
    // An answer to HEAD declares the length of a body that it has not.
    let (request, told) = get();
    let head = Response::builder().header(header::CONTENT_LENGTH, 500);
    let _response = limited(&limit, request, head.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(limit.in_flight(), 0);
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_to_head_and_to_connect_completes_at_once_whatever_its_body_says() {
    let limit = one();
    for (method, status, ends) in [
        ("HEAD", 200, true),
        ("HEAD", 404, true),
        ("CONNECT", 200, true),
        // Only a success leads to a tunnel.
        ("CONNECT", 404, false),
        ("GET", 200, false),
    ] {
        let (case, mut request) = (format!("{method} {status}"), Request::new(()));
        *request.method_mut() = method.parse().unwrap();
        request.context();
        // In every attempt of the call.
        let mut request = request.clone();
        let told = told(request.context());
        let stuck = Scripted::new(&Count::default(), [Step::Stuck]);
        let response = Response::builder().status(status).body(stuck).unwrap();
        let response = limited(&limit, request, response).await;
        assert_eq!(limit.in_flight(), usize::from(!ends), "{case}");
        drop(response);
        assert_eq!(limit.in_flight(), 0, "{case}");
        let outcome = match ends {
            true => Outcome::Completed,
            false => Outcome::Cancelled,
        };
        assert_eq!(told.outcomes().await, [outcome], "{case}");
    }
}

/// One layer alone sees the answer to a HEAD complete, though nobody looks at its body.
macro_rules! completes_head {
    ($layer:expr) => {
        let mut request = Request::head("/").body(()).unwrap();
        let told = told(request.context());
        let tool = service_fn(async |_: Request<()>| {
            let stuck = Scripted::new(&Count::default(), [Step::Stuck]);
            Ok::<_, ToolError>(Response::new(stuck))
        });
        drop($layer.layer(tool).oneshot(request).await.unwrap());
        let outcomes = told.outcomes().await;
        assert_eq!(outcomes, [Outcome::Completed], "{}", stringify!($layer));
    };
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn every_layer_knows_that_an_answer_to_head_has_no_body() {
    let quota = Quota::per_second(std::num::NonZeroU32::MIN);
    completes_head!(TimeoutLayer::new(ms(400)));
    completes_head!(one());
    completes_head!(RateLimitLayer::new(quota));
    completes_head!(CleanupLayer::new());
    completes_head!(PartialResultLayer::new());
}
