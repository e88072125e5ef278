//! The same layer value on an axum router and on its routes.

use std::num::NonZeroU32;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use toolbooth::Quota;
use tower::ServiceBuilder;

use super::*;

async fn failed(error: ToolError) -> StatusCode {
    error.status()
}

/// A router whose route takes 10 ms; `around` adds the layer, first to the route.
fn app(around: impl Fn(Router) -> Router) -> Router {
    let report = async || {
        sleep(ms(10)).await;
        "42 rows"
    };
    let routes = around(Router::new().route("/report", get(report)));
    around(Router::new().nest("/api", routes))
}

/// The status of `count` concurrent requests, whose bodies are read, and the time that they take.
async fn requests(app: &Router, count: usize) -> (Vec<StatusCode>, u128) {
    let started = tokio::time::Instant::now();
    let request = || {
        let request = Request::get("/api/report").body(Body::empty());
        app.clone().oneshot(request.expect("a request"))
    };
    let responses = (0..count).map(|_| async {
        let response = request().await.expect("infallible");
        let status = response.status();
        response.into_body().collect().await.expect("a body");
        status
    });
    let statuses = in_time(futures_util::future::join_all(responses)).await;
    (statuses, started.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn limit_on_router_and_route_takes_one_permit_for_each_request() {
    for permits in [1, 2] {
        let limit = ConcurrencyLimitLayer::new(permits);
        let app = app(|router| {
            let layers = ServiceBuilder::new()
                .layer(HandleErrorLayer::new(failed))
                .layer(limit.clone());
            router.layer(layers)
        });
        let all = requests(&app, 2 * permits).await;
        assert_eq!(all, (vec![StatusCode::OK; 2 * permits], 20));
        assert_eq!((limit.available(), limit.queued()), (permits, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limit_on_router_and_route_takes_one_token_for_each_request() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN)).reject();
    let app = app(|router| {
        let layers = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .layer(rate.clone());
        router.layer(layers)
    });
    assert_eq!(requests(&app, 1).await, (vec![StatusCode::OK], 10));
    assert_eq!(
        requests(&app, 1).await,
        (vec![StatusCode::TOO_MANY_REQUESTS], 0)
    );
}
