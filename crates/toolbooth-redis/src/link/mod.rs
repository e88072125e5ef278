//! The connection to the server, which one task keeps alive.

mod connection;
mod task;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult};
use tokio::sync::{Notify as Wakeup, watch};
use tokio::task::AbortHandle;
use toolbooth::shared::Notify;

use self::connection::Connection;
use crate::error::ConnectError;
use crate::options::RedisOptions;
use crate::scripts::Code;

/// The connection of a store. The task that keeps it ends when it is dropped.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    subscribers: Arc<Subscribers>,
    task: AbortHandle,
    /// Without user and password.
    address: String,
}

/// Whether there is a connection.
#[derive(Clone)]
enum State {
    Connecting,
    Connected(Connection),
    /// There is none, because of this.
    Lost(RedisError),
}

/// What is called with the messages of each channel.
#[derive(Default)]
struct Subscribers {
    channels: Mutex<HashMap<String, Notify>>,
    /// Wakes the task after a channel was added.
    added: Wakeup,
}

// === impl Link ===

impl Link {
    /// Makes the first attempt to connect, and starts the task that goes on with it.
    pub(crate) async fn connect(url: &str, options: &RedisOptions) -> Result<Self, ConnectError> {
        let info = url.into_connection_info().map_err(ConnectError::url)?;
        let settings = info.redis_settings().clone();
        // Notifications come on the same connection. The name of the library needs a permission.
        let settings = settings
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        let address = info.addr().to_string();
        let client = Client::open(info.set_redis_settings(settings)).map_err(ConnectError::url)?;
        let subscribers = Arc::new(Subscribers::default());
        let (sender, mut state) = watch::channel(State::Connecting);
        let run = task::run(client, options.timeout, sender, Arc::clone(&subscribers));
        let task = tokio::spawn(run).abort_handle();
        let link = Self {
            state: state.clone(),
            subscribers,
            task,
            address,
        };
        // An error means that the runtime shuts down: the store is away then.
        let _ = state.changed().await;
        match &*state.borrow() {
            State::Lost(error) => match ConnectError::permanent(error) {
                Some(error) => Err(error),
                None => Ok(link),
            },
            State::Connecting | State::Connected(_) => Ok(link),
        }
    }

    /// Runs a script. Without a connection it fails at once.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        code: &Code,
        keys: &[String],
        args: &[String],
    ) -> RedisResult<T> {
        let state = self.state.borrow().clone();
        match state {
            State::Connected(connection) => connection.run(code, keys, args).await,
            State::Lost(error) => Err(error),
            State::Connecting => Err(connection::lost("not connected yet")),
        }
    }

    /// Calls `notify` with each number that is published on a channel.
    pub(crate) fn subscribe(&self, channel: String, notify: Notify) {
        self.subscribers.lock().insert(channel, notify);
        self.subscribers.added.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_connected = matches!(&*self.state.borrow(), State::Connected(_));
        f.debug_struct("Link")
            .field("address", &self.address)
            .field("is_connected", &is_connected)
            .finish_non_exhaustive()
    }
}

// === impl Subscribers ===

impl Subscribers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Notify>> {
        // A panic under the lock leaves the map as it was.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Delivers a message.
    fn deliver(&self, channel: &str, number: u64) {
        let notify = self.lock().get(channel).map(Arc::clone);
        if let Some(notify) = notify {
            notify(number);
        }
    }
}
