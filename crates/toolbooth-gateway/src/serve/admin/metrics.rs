//! Metrics for Prometheus.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use toolbooth::events::MetricsSink;
use toolbooth::events::metrics::{
    CLEANUP_DURATION, DURATION_BUCKETS, EXECUTE_TOOL_DURATION, LIMIT_OVERSHOOT, QUEUE_WAIT,
};

/// The metrics of this process: where they are recorded, and how they are read.
pub(crate) struct Metrics {
    pub(crate) sink: MetricsSink,
    pub(crate) handle: PrometheusHandle,
}

/// The time between two sums of what histograms recorded: without a scrape it would accumulate.
const UPKEEP: Duration = Duration::from_secs(5);

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Result<Self, BuildError> {
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
        Ok(Self {
            handle: recorder.handle(),
            sink: MetricsSink::for_recorder(recorder),
        })
    }
}

/// Bounds the memory of histograms while nothing scrapes them. Never returns.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
