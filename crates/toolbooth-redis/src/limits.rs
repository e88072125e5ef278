use toolbooth::shared::{SharedOptions, SharedStore, StoreError};
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer};
use toolbooth_core::Name;

use crate::error::ConnectError;
use crate::status::LimitStatus;
use crate::store::RedisStore;

/// Limits that all processes share which use the same server.
///
/// Clones share the connection, and what is known of the other processes.
///
/// ```no_run
/// use std::num::NonZeroU32;
///
/// use toolbooth::shared::SharedOptions;
/// use toolbooth::{BoxError, ConcurrencyLimitLayer, Quota, RateLimitLayer};
/// use toolbooth_redis::SharedLimits;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let shared = SharedLimits::connect("redis://localhost", SharedOptions::new()).await?;
/// let quota = Quota::per_second(NonZeroU32::new(100).ok_or("zero")?);
/// let rate = shared.rate("github", RateLimitLayer::new(quota));
/// let concurrency = shared.concurrency("github", ConcurrencyLimitLayer::new(10));
///
/// for holder in shared.status("github").await?.holders {
///     println!("{} has {}", holder.holder.process, holder.held);
/// }
/// # drop((rate, concurrency));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SharedLimits {
    shared: SharedStore,
    redis: RedisStore,
}

// === impl SharedLimits ===

impl SharedLimits {
    /// Connects to a server. See [`RedisStore::connect`].
    ///
    /// Returns after 1 second at most. If the server does not respond by then, the limits behave
    /// as [`WhenAway`](toolbooth::shared::WhenAway) states, until it does.
    ///
    /// # Errors
    /// If the URL is not valid, or the server rejects the user, its password or the database.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(url: &str, options: SharedOptions) -> Result<Self, ConnectError> {
        Ok(Self::new(RedisStore::connect(url).await?, options))
    }

    /// Creates the limits of a store.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(store: RedisStore, options: SharedOptions) -> Self {
        Self {
            shared: SharedStore::new(store.clone(), options),
            redis: store,
        }
    }

    /// Returns a handle whose rate limits take tokens in advance. See
    /// [`SharedStore::with_prefetch`].
    #[must_use]
    pub fn with_prefetch(&self, tokens: u32) -> Self {
        Self {
            shared: self.shared.with_prefetch(tokens),
            redis: self.redis.clone(),
        }
    }

    /// Keeps the bucket of a layer on the server, under a name. See [`RateLimitLayer::with_store`].
    #[must_use]
    pub fn rate(&self, name: impl Into<Name>, layer: RateLimitLayer) -> RateLimitLayer {
        layer.with_store(&self.shared, name)
    }

    /// Keeps the permits of a layer on the server, under a name. See
    /// [`ConcurrencyLimitLayer::with_store`].
    #[must_use]
    pub fn concurrency(
        &self,
        name: impl Into<Name>,
        layer: ConcurrencyLimitLayer,
    ) -> ConcurrencyLimitLayer {
        layer.with_store(&self.shared, name)
    }

    /// Returns the store as the limits of this process use it: whether it is away, and how many
    /// processes there are.
    #[must_use]
    pub const fn store(&self) -> &SharedStore {
        &self.shared
    }

    /// Reads what the server has stored of a limit. See [`RedisStore::status`].
    ///
    /// # Errors
    /// If there is no connection, or no reply within 1 second.
    pub async fn status(&self, limit: &str) -> Result<LimitStatus, StoreError> {
        self.redis.status(limit).await
    }
}
