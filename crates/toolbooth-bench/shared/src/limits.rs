//! The limits of toolbooth that are measured.

use std::num::NonZeroU32;

use toolbooth::rate::Quota;
use toolbooth::shared::SharedOptions;
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer};
use toolbooth_redis::SharedLimits;
use tower::Layer;

use crate::Error;
use crate::bare::{self, Tool, bare};
use crate::contender::Contender;
use crate::server::connect;

/// Connects to the server.
pub(crate) async fn shared(url: &str) -> Result<SharedLimits, Error> {
    Ok(SharedLimits::connect(url, SharedOptions::new()).await?)
}

pub(crate) fn rate(quota: Quota) -> RateLimitLayer {
    RateLimitLayer::new(quota)
}

/// Returns a quota of `starts` a second, and a burst of as many.
pub(crate) fn per_second(starts: u32) -> Result<Quota, Error> {
    Ok(Quota::per_second(NonZeroU32::new(starts).ok_or("zero")?))
}

/// Returns the tool alone.
pub(crate) fn tool() -> Contender {
    Contender::new("tool", Tool, bare::call)
}

/// Returns the two scripts that limit nothing.
pub(crate) async fn scripts(url: &str) -> Result<[Contender; 2], Error> {
    let nothing = bare(connect(url).await?, bare::NOTHING).await?;
    let writes = bare(connect(url).await?, bare::WRITES).await?;
    Ok([
        Contender::new("bare", nothing, bare::call),
        Contender::new("bare_work", writes, bare::call),
    ])
}

/// Returns a concurrency limit of this process, and one that is shared.
pub(crate) async fn concurrency(url: &str, permits: usize) -> Result<[Contender; 2], Error> {
    let layer = ConcurrencyLimitLayer::new(permits);
    let shared = shared(url).await?.concurrency("limit", layer.clone());
    Ok([
        Contender::new("local", layer.layer(Tool), bare::call),
        Contender::new("shared", shared.layer(Tool), bare::call),
    ])
}
