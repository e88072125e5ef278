use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Subscribers;
use crate::scripts::Code;

/// After how many commands in a row without a reply a connection is given up.
const MAX_UNANSWERED: u32 = 3;

/// A connection is not given up earlier for missing replies: a server that is slow would be
/// connected to again and again.
const MIN_AGE: Duration = Duration::from_secs(1);

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    health: Arc<Health>,
}

/// Whether a connection can be used.
struct Health {
    since: Instant,
    unanswered: AtomicU32,
    /// Is notified when it cannot.
    broken: Notify,
}

/// A command without a reply, until `answered` is set.
struct Pending {
    health: Arc<Health>,
    answered: bool,
}

/// Creates the error of a connection that is lost.
pub(super) fn lost(reason: &'static str) -> RedisError {
    io::Error::new(io::ErrorKind::NotConnected, reason).into()
}

// === impl Connection ===

impl Connection {
    pub(super) async fn open(
        client: &Client,
        timeout: Duration,
        subscribers: &Arc<Subscribers>,
    ) -> RedisResult<Self> {
        let health = Arc::new(Health {
            since: Instant::now(),
            unanswered: AtomicU32::new(0),
            broken: Notify::new(),
        });
        let (subscribers, of_push) = (Arc::clone(subscribers), Arc::clone(&health));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_push_sender(move |push: PushInfo| {
                receive(&push, &subscribers, &of_push);
                Ok::<_, SendError>(())
            });
        let inner = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Self { inner, health })
    }

    /// Waits until the connection cannot be used any more.
    pub(super) async fn broken(&self) {
        self.health.broken.notified().await;
    }

    pub(super) fn age(&self) -> Duration {
        self.health.since.elapsed()
    }

    pub(super) async fn subscribe(&self, channels: &[String]) -> RedisResult<()> {
        self.inner.clone().subscribe(channels).await
    }

    /// Runs a script by its digest, or by its text if the server does not know it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        code: &Code,
        keys: &[String],
        args: &[String],
    ) -> RedisResult<T> {
        let reply = self.send("EVALSHA", &code.digest, keys, args).await;
        match reply {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send("EVAL", code.text, keys, args).await
            }
            reply => reply,
        }
    }

    async fn send<T: FromRedisValue>(
        &self,
        command: &str,
        code: &str,
        keys: &[String],
        args: &[String],
    ) -> RedisResult<T> {
        let mut cmd = Cmd::new();
        cmd.arg(command)
            .arg(code)
            .arg(keys.len())
            .arg(keys)
            .arg(args);
        let mut pending = Pending {
            health: Arc::clone(&self.health),
            answered: false,
        };
        let reply = cmd.query_async(&mut self.inner.clone()).await;
        if reply.as_ref().is_err_and(is_broken) {
            self.health.broken.notify_one();
        }
        pending.answered = !reply.as_ref().is_err_and(RedisError::is_io_error);
        reply
    }
}

/// Returns whether another connection may serve better than the one that returned this error.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            // After a failover, the address may be that of another server.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

/// Receives what the server sends by itself, and the end of the connection.
fn receive(push: &PushInfo, subscribers: &Subscribers, health: &Health) {
    match (&push.kind, &push.data[..]) {
        (PushKind::Disconnection, _) => health.broken.notify_one(),
        (PushKind::Message, [channel, number]) => {
            let channel = String::from_redis_value_ref(channel);
            let number = u64::from_redis_value_ref(number);
            if let (Ok(channel), Ok(number)) = (channel, number) {
                subscribers.deliver(&channel, number);
            }
        }
        _ => {}
    }
}

// === impl Pending ===

impl Drop for Pending {
    fn drop(&mut self) {
        if self.answered {
            self.health.unanswered.store(0, Ordering::Relaxed);
            return;
        }
        let unanswered = self.health.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        if unanswered >= MAX_UNANSWERED && self.health.since.elapsed() >= MIN_AGE {
            self.health.broken.notify_one();
        }
    }
}
