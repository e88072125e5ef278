//! The rate limits of other crates that keep their state on a server.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use limitador::AsyncRateLimiter;
use limitador::limit::{Condition, Limit, Namespace};
use limitador::storage::AsyncCounterStorage;
use limitador::storage::redis::{AsyncRedisStorage, CachedRedisStorage};
use toolbooth::ToolCall;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rate_limit_redis::{KeyResolver, RateLimitLayer};

use crate::Error;
use crate::bare::{self, Tool};
use crate::contender::Contender;

/// Its burst is a `u16`, and its rate is 1,000 a second at most.
const BURST: u16 = u16::MAX;

/// Selects another key before the burst of one is used.
#[derive(Clone)]
struct Keys {
    name: String,
    calls: Arc<AtomicU64>,
}

/// Returns the peers. `name` is a part of their keys.
pub(crate) async fn all(url: &str, name: &str) -> Result<[Contender; 3], Error> {
    let stored = AsyncRedisStorage::new(&of_peers(url)).await?;
    let cached = CachedRedisStorage::new(&of_peers(url)).await?;
    Ok([
        tower_rate_limit(url, name).await?,
        limitador("limitador", name, Box::new(stored)),
        limitador("limitador_cached", name, Box::new(cached)),
    ])
}

/// Returns the URL as these crates read it: they have another name for the scheme of a socket.
fn of_peers(url: &str) -> String {
    url.replace("unix:", "redis+unix:")
}

/// A layer for HTTP requests: the call is the body.
pub(crate) async fn tower_rate_limit(url: &str, name: &str) -> Result<Contender, Error> {
    let client = redis_0_32::Client::open(of_peers(url))?;
    let layer = RateLimitLayer::builder()
        .conn(client.get_multiplexed_async_connection().await?)
        .key_resolver(Keys {
            name: format!("peer:{name}"),
            calls: Arc::default(),
        })
        .capacity(BURST)
        .emission_interval(Duration::from_millis(1))
        .build();
    let tool = Tool
        .map_request(|request: Request<ToolCall>| request.into_body())
        .map_response(Response::new);
    // It rejects, and reports errors, by a status.
    let service = layer.layer(tool).map_result(accepted);
    let request = || Request::new(bare::call());
    Ok(Contender::new("tower-rate-limit-redis", service, request))
}

fn accepted(result: Result<Response<()>, Infallible>) -> Result<(), Error> {
    let status = result?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("tower-rate-limit-redis: {status}").into()),
    }
}

/// A library: the layer is ours.
fn limitador(
    contender: &'static str,
    name: &str,
    storage: Box<dyn AsyncCounterStorage>,
) -> Contender {
    let space = Namespace::from(format!("{contender} {name}"));
    let limiter = AsyncRateLimiter::new_with_storage(storage);
    let (conditions, variables): ([Condition; 0], [String; 0]) = ([], []);
    limiter.add_limit(Limit::new(
        space.clone(),
        1 << 40,
        60,
        conditions,
        variables,
    ));
    let (limiter, space) = (Arc::new(limiter), Arc::new(space));
    let service = service_fn(move |call: ToolCall| {
        let (limiter, space) = (Arc::clone(&limiter), Arc::clone(&space));
        async move {
            let values = HashMap::new();
            let checked = limiter.check_rate_limited_and_update(&space, &values, 1, false);
            if checked.await?.limited {
                return Err(Error::from("limitador: limited"));
            }
            Ok(Tool.call(call).await?)
        }
    });
    Contender::new(contender, service, bare::call)
}

// === impl Keys ===

impl KeyResolver for Keys {
    type Key = String;
    type ErrorBody = ();

    fn key<T>(&self, _: &Request<T>) -> Result<String, Response<()>> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{}:{}", self.name, calls / u64::from(BURST)))
    }
}
