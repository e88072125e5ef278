//! The task that connects, again and again, for ever.
//!
//! The connection manager of the library keeps an error of the server for ever once it has got one
//! while it connected, such as that of too many clients. It does not connect again either if
//! replies do not come, as after a partition of the network.

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, RedisResult};
use tokio::sync::watch;
use tokio::time::sleep;

use super::connection::{self, Connection};
use super::{State, Subscribers};

/// The shortest and the longest pause between two attempts.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A connection that lasted so long was good: the next one is opened after the shortest pause.
const GOOD: Duration = Duration::from_secs(1);

pub(super) async fn run(
    client: Client,
    timeout: Duration,
    state: watch::Sender<State>,
    subscribers: Arc<Subscribers>,
) {
    let mut pause = MIN_PAUSE;
    loop {
        match open(&client, timeout, &subscribers).await {
            Ok(connection) => {
                state.send_replace(State::Connected(connection.clone()));
                keep(&connection, &subscribers).await;
                state.send_replace(State::Lost(connection::lost("the connection was lost")));
                if connection.age() >= GOOD {
                    pause = MIN_PAUSE;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no connection to the Redis server");
                state.send_replace(State::Lost(error));
            }
        }
        // Processes that lost the server together do not come back together.
        sleep(pause.mul_f64(fastrand::f64() / 2.0 + 0.5)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn open(
    client: &Client,
    timeout: Duration,
    subscribers: &Arc<Subscribers>,
) -> RedisResult<Connection> {
    let connection = Connection::open(client, timeout, subscribers).await?;
    subscribe(&connection, subscribers).await;
    Ok(connection)
}

/// Returns when the connection cannot be used any more.
async fn keep(connection: &Connection, subscribers: &Subscribers) {
    loop {
        tokio::select! {
            () = connection.broken() => return,
            () = subscribers.added.notified() => subscribe(connection, subscribers).await,
        }
    }
}

/// Subscribes to all channels. Without notifications, those that wait ask again after a time.
async fn subscribe(connection: &Connection, subscribers: &Subscribers) {
    let channels = subscribers.channels();
    if channels.is_empty() {
        return;
    }
    if let Err(error) = connection.subscribe(&channels).await {
        tracing::warn!(%error, "no notifications from the Redis server");
    }
}
