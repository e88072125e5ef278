//! What HTTP responses count as: by their status, at the end of their body.

use ::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::service_fn;

use super::counts::{Verdict, verdict_of};
use super::*;

/// What a response with this status counts as, whose body is read to its end or dropped.
async fn verdict(policy: BreakerPolicy, status: u16, is_read: bool) -> Verdict {
    verdict_of(policy, |breaker| async move {
        let service = breaker.layer(service_fn(move |_: Request<()>| {
            let body = Full::new(bytes::Bytes::from("body"));
            std::future::ready(Response::builder().status(status).body(body))
        }));
        let response = service.oneshot(Request::new(())).await.expect("a response");
        assert_eq!(response.status(), status);
        if is_read {
            response.into_body().collect().await.expect("a body");
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn status_of_500_or_above_is_a_failure() {
    for status in [100, 200, 301, 400, 404, 429, 499, 600] {
        assert_eq!(
            verdict(two(), status, true).await,
            Verdict::Success,
            "{status}"
        );
    }
    for status in [500, 502, 503, 599] {
        assert_eq!(
            verdict(two(), status, true).await,
            Verdict::Failure,
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn predicate_sees_the_head_of_a_failure() {
    let policy = || {
        two().with_failures(|failure| match failure {
            toolbooth::breaker::Failure::Http(head) => head.status != 503,
            _ => true,
        })
    };
    assert_eq!(verdict(policy(), 503, true).await, Verdict::Success);
    assert_eq!(verdict(policy(), 500, true).await, Verdict::Failure);
    assert_eq!(verdict(policy(), 200, true).await, Verdict::Success);
}

#[tokio::test(start_paused = true)]
async fn dropped_body_of_a_success_does_not_count() {
    assert_eq!(verdict(two(), 200, false).await, Verdict::Ignored);
}
