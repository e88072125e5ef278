use std::fmt;
use std::sync::Arc;

use redis::FromRedisValue;
use toolbooth::shared::{
    Heartbeat, LimitStore, Notify, PermitsUpdated, ReturnTokens, StoreError, StoreFuture,
    TakeTokens, TokensTaken, UpdatePermits,
};
use toolbooth_core::Name;

use crate::commands::{self, Command};
use crate::error::ConnectError;
use crate::keys::Keys;
use crate::link::Link;
use crate::options::RedisOptions;
use crate::status::LimitStatus;

/// A store of shared limits on a Redis or Valkey server, of version 7.0 or newer.
///
/// Each command is one script and one round trip. Time is the server's. Clones share the
/// connection, which a task keeps on the runtime on which it was created, until the last clone is
/// dropped. After the server was away it connects again, for ever, after pauses of 10 milliseconds
/// to 1 second. Without a connection, commands fail at once.
///
/// Numbers above 2^53 - 1 count as that, and times above 31 years as 31 years. A bucket that would
/// take more than 95 years to refill has a smaller burst.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    keys: Keys,
    link: Link,
}

// === impl RedisStore ===

impl RedisStore {
    /// Connects to a server with the default settings.
    ///
    /// The URL is `redis://[user[:password]@]host[:port][/database]`, the same with `rediss://` for
    /// TLS (feature `tls`), or `unix:///path?db=0&user=..&pass=..`. Returns when the first attempt
    /// has ended, after 1 second at most. If the server does not respond, the store connects later.
    ///
    /// # Errors
    /// If the URL is not valid, or the server rejects the user, its password or the database.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::connect_with(url, RedisOptions::new()).await
    }

    /// Connects to a server with these settings. See [`connect`](Self::connect).
    ///
    /// # Errors
    /// If the URL is not valid, or the server rejects the user, its password or the database.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_with(url: &str, options: RedisOptions) -> Result<Self, ConnectError> {
        let shared = Shared {
            link: Link::connect(url, &options).await?,
            keys: Keys::new(&options.prefix),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Reads what the server has stored of a rate limit and a concurrency limit of this name.
    ///
    /// The limit of a key is `name/key`. Nothing is written.
    ///
    /// # Errors
    /// If there is no connection, or no reply within the
    /// [timeout](RedisOptions::with_timeout).
    pub async fn status(&self, limit: &str) -> Result<LimitStatus, StoreError> {
        self.run(commands::status(&self.shared.keys, limit)).await
    }

    fn run<R, T>(&self, command: Command<R, T>) -> StoreFuture<T>
    where
        R: FromRedisValue + Send + 'static,
        T: 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Command {
                code,
                keys,
                args,
                convert,
            } = command;
            let reply = shared.link.run(code, &keys, &args).await;
            reply.map(convert).map_err(StoreError::new)
        })
    }
}

impl LimitStore for RedisStore {
    fn take_tokens(&self, request: TakeTokens) -> StoreFuture<TokensTaken> {
        self.run(commands::take_tokens(&self.shared.keys, &request))
    }

    fn return_tokens(&self, request: ReturnTokens) -> StoreFuture<()> {
        self.run(commands::return_tokens(&self.shared.keys, &request))
    }

    fn update_permits(&self, request: UpdatePermits) -> StoreFuture<PermitsUpdated> {
        self.run(commands::update_permits(&self.shared.keys, &request))
    }

    fn heartbeat(&self, request: Heartbeat) -> StoreFuture<u64> {
        self.run(commands::heartbeat(&self.shared.keys, &request))
    }

    fn notify_with(&self, process: &Name, notify: Notify) {
        let channel = self.shared.keys.channel(process);
        self.shared.link.subscribe(channel, notify);
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("keys", &self.shared.keys)
            .field("link", &self.shared.link)
            .finish()
    }
}
