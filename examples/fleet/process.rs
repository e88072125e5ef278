//! A process of the fleet: it calls as often as it may.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use toolbooth::shared::{SharedOptions, WhenAway};
use toolbooth::{BoxError, ConcurrencyLimitLayer, Quota, RateLimitLayer, ToolCall, tool_fn};
use toolbooth_redis::SharedLimits;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::{BURST, LEASE, PER_SECOND, PERMITS};

pub(crate) async fn run(number: &str, url: &str) -> Result<(), BoxError> {
    let options = SharedOptions::new()
        .with_when_away(WhenAway::Closed)
        .with_lease(LEASE);
    let shared = SharedLimits::connect(url, options).await?;
    println!("{number} {}", shared.store().process());
    let number: Arc<str> = number.into();

    let quota = Quota::per_second(NonZeroU32::new(PER_SECOND).ok_or("zero")?)
        .allow_burst(NonZeroU32::new(BURST).ok_or("zero")?);
    // A call that has a permit waits for a token: the quota counts starts.
    let search = ServiceBuilder::new()
        .layer(shared.concurrency("api", ConcurrencyLimitLayer::new(PERMITS)))
        .layer(shared.rate("api", RateLimitLayer::new(quota)))
        .service(tool_fn("search", move |_: ()| {
            let number = Arc::clone(&number);
            async move {
                println!("{number} start");
                sleep(Duration::from_millis(250)).await;
                println!("{number} end");
                Ok::<_, Infallible>("3 issues")
            }
        }));
    let search = BoxCloneSyncService::new(search);

    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let search = search.clone();
        tasks.spawn(async move {
            loop {
                let call = ToolCall::new("search", json!(null));
                search.clone().oneshot(call).await?.collect().await?;
            }
        });
    }
    // The fleet ends when its processes are killed.
    match tasks.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}
