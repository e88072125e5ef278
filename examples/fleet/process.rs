//! A process of the fleet: it calls as often as it may.

use std::convert::Infallible;
use std::io::Read;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use toolbooth::shared::{SharedOptions, WhenAway};
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, EventsLayer, Quota, RateLimitLayer, ToolCall, tool_fn,
};
use toolbooth_redis::SharedLimits;
use toolbooth_timeline::Recorder;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::{BURST, LEASE, PER_SECOND, PERMITS, WATCHED};

pub(crate) async fn run(number: &str, url: &str) -> Result<(), BoxError> {
    let options = SharedOptions::new()
        .with_when_away(WhenAway::Closed)
        .with_lease(LEASE);
    let shared = SharedLimits::connect(url, options).await?;
    println!("{number} {}", shared.store().process());
    let number: Arc<str> = number.into();

    let quota = Quota::per_second(NonZeroU32::new(PER_SECOND).ok_or("zero")?)
        .allow_burst(NonZeroU32::new(BURST).ok_or("zero")?);
    let recorder = Recorder::new();
    let name = Arc::clone(&number);
    // A call that has a permit waits for a token: the quota counts starts.
    let search = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(shared.concurrency("api", ConcurrencyLimitLayer::new(PERMITS)))
        .layer(shared.rate("api", RateLimitLayer::new(quota)))
        .service(tool_fn("search", move |_: ()| {
            let number = Arc::clone(&name);
            async move {
                let at = SystemTime::now().duration_since(UNIX_EPOCH);
                println!("{number} start {}", at.unwrap_or_default().as_micros());
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
    tokio::select! {
        Some(ended) = tasks.join_next() => return ended?,
        () = input_ended() => tasks.shutdown().await,
    }
    print_timeline(&number, &recorder);
    Ok(())
}

/// Waits until the input ends: the fleet ends then.
async fn input_ended() {
    let (sender, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(sender);
    });
    let _ = ended.await;
}

/// Prints the calls from a second before a process is killed until the end.
fn print_timeline(number: &str, recorder: &Recorder) {
    let mut timeline = recorder.snapshot();
    let shown = WATCHED + Duration::from_secs(1);
    let from = timeline.now.saturating_sub(shown);
    timeline.calls.retain(|call| call.start >= from);
    for line in timeline.to_text(100).lines() {
        println!("{number} | {line}");
    }
}
