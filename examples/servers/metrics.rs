//! Tools whose metrics Prometheus scrapes.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use toolbooth::events::metrics::{
    CLEANUP_DURATION, DURATION_BUCKETS, EXECUTE_TOOL_DURATION, LIMIT_OVERSHOOT, MetricsSink,
    QUEUE_WAIT,
};
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, EventsLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    Toolbox, tool_fn,
};
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

/// A toolbox with layers around it.
type Tools = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

#[derive(Deserialize)]
struct Crawl {
    millis: u64,
}

/// Makes a toolbox of two tools behind limits, and the route `/metrics`.
///
/// # Errors
/// If the exporter or the toolbox cannot be built: never with these constants.
pub fn metered() -> Result<(Tools, Router), BoxError> {
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for histogram in [
        EXECUTE_TOOL_DURATION,
        QUEUE_WAIT,
        LIMIT_OVERSHOOT,
        CLEANUP_DURATION,
    ] {
        let matcher = Matcher::Full(histogram.to_owned());
        exporter = exporter.set_buckets_for_metric(matcher, &DURATION_BUCKETS)?;
    }
    let recorder = exporter.build_recorder();
    let handle = recorder.handle();
    // A program with other metrics installs the recorder, and then calls `MetricsSink::new`.
    let metrics = MetricsSink::for_recorder(recorder);

    let crawl = tool_fn("crawl", async |crawl: Crawl| {
        tokio::time::sleep(Duration::from_millis(crawl.millis)).await;
        Ok::<_, Infallible>("2 pages")
    });
    let fail = tool_fn("fail", async |_: ()| {
        Err::<(), _>(ToolError::failed("down"))
    });
    let toolbox = Toolbox::builder()
        .tool("crawl", crawl)
        .tool("fail", fail)
        .build()?;
    let toolbox = ServiceBuilder::new()
        .layer(EventsLayer::new(metrics))
        .layer(TimeoutLayer::new(Duration::from_millis(500)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(toolbox);
    Ok((Tools::new(toolbox), route(handle)))
}

/// The text format of Prometheus. Each scrape takes what the histograms have recorded since the
/// last one: a program that is seldom scraped calls `run_upkeep` of the handle from time to time.
fn route(handle: PrometheusHandle) -> Router {
    let scrape = move || {
        let text = handle.render();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(scrape))
}
