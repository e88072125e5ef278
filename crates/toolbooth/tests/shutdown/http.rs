//! HTTP: bodies are in flight to their last frame, and end with the grace.

use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use toolbooth::BoxError;
use tower::service_fn;

use super::*;

/// A body of one frame that does not end.
fn endless() -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin {
    let first = stream::iter([Ok(Frame::data(Bytes::from("a")))]);
    StreamBody::new(futures_util::StreamExt::chain(first, stream::pending()))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn endless_body_ends_with_the_error_and_later_requests_are_rejected() {
    let shutdown = ShutdownLayer::new();
    let service = shutdown.layer(service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(Response::new(endless()))
    }));
    let response = service.clone().oneshot(Request::new(())).await;
    let mut body = response.expect("a response").into_body();
    assert!(body.frame().await.expect("a frame").is_ok());
    assert_eq!(shutdown.in_flight(), 1);
    let start = Instant::now();
    assert_eq!(
        shut_down(&shutdown, ms(100), MINUTE).await,
        Counts::calls(0, 1)
    );
    assert_eq!(start.elapsed(), ms(100));
    let error = body.frame().await.expect("a frame").expect_err("an error");
    assert_eq!(
        (error.status(), error.retry_after_seconds()),
        (503.try_into().expect("a status"), None)
    );
    assert!(body.frame().await.is_none());
    let rejected = service
        .oneshot(Request::new(()))
        .await
        .expect_err("an error");
    assert_eq!(
        (rejected.status().as_u16(), rejected.retry_after_seconds()),
        (503, Some(5))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn buffered_body_that_is_not_read_is_in_flight_until_the_grace_ends() {
    let shutdown = ShutdownLayer::new();
    let service = shutdown.layer(service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::from("whole"))))
    }));
    let response = service.oneshot(Request::new(())).await.expect("a response");
    let mut body = response.into_body();
    assert_eq!(shutdown.in_flight(), 1);
    assert_eq!(
        shut_down(&shutdown, ms(100), MINUTE).await,
        Counts::calls(1, 0)
    );
    // The frame that was ready is kept for the client.
    let frame = body.frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "whole");
    assert!(body.frame().await.is_none());
}
