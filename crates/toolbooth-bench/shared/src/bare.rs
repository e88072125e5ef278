//! The tool without a limit, and one script that decides nothing before each call.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use toolbooth::ToolCall;
use tower::{Service, service_fn};

use crate::Error;

/// Writes nothing.
pub(crate) const NOTHING: &str = "return 1";

/// Writes what a limit writes at least: who holds permits, until when, and how many.
pub(crate) const WRITES: &str = "\
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], 'held', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1";

/// A tool whose response is ready at the first poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool;

/// Returns a call as an agent makes it.
pub(crate) fn call() -> ToolCall {
    ToolCall::new("search", Value::Null)
        .with_id("call_8fj2")
        .with_tenant("acme")
}

/// Returns a service that runs `script` before each call.
pub(crate) async fn bare(
    mut connection: MultiplexedConnection,
    script: &str,
) -> Result<impl Service<ToolCall, Response = (), Error = Error, Future: Send> + Clone, Error> {
    let digest: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(script)
        .query_async(&mut connection)
        .await?;
    Ok(service_fn(move |call: ToolCall| {
        let (digest, mut connection) = (digest.clone(), connection.clone());
        async move {
            redis::cmd("EVALSHA")
                .arg(digest)
                .arg(2)
                .arg("{bare}:leases")
                .arg("{bare}:state")
                .arg(1_000_000)
                .arg("0:4f1c2a7d")
                .arg(1)
                .arg(20_000)
                .query_async::<u64>(&mut connection)
                .await?;
            Ok(Tool.call(call).await?)
        }
    }))
}

// === impl Tool ===

impl Service<ToolCall> for Tool {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        std::hint::black_box(&call);
        ready(Ok(()))
    }
}
