//! Requests a file from the HTTP API. The connection is part of the call's future, and is dropped
//! with it.

use std::net::SocketAddr;

use futures_util::future;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use toolbooth::{BoxError, CallContext, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::Service;

use crate::record::Record;

#[derive(Deserialize)]
struct Args {
    file: usize,
}

pub(crate) fn lookup(
    api: SocketAddr,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Clone {
    tool_fn("lookup", move |call: CallContext, args: Args| {
        run(api, call, args)
    })
}

async fn run(api: SocketAddr, call: CallContext, args: Args) -> Result<Value, BoxError> {
    Record::started(&call);
    let stream = TcpStream::connect(api).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(format!("/files/{}", args.file))
        .header("host", api.to_string())
        .body(Empty::new())?;
    // The connection ends when `exchange` drops its sender.
    let (response, ()) = future::try_join(exchange(sender, request), connection).await?;
    match response {
        (StatusCode::OK, body) => Ok(serde_json::from_slice(&body)?),
        (status, _) => Err(format!("the API returned {status}").into()),
    }
}

async fn exchange(
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<(StatusCode, Bytes)> {
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
