//! A service of gRPC as tonic generates it, its client, and the connection between them in memory.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, StdError};
use tonic::server::{Grpc, NamedService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, GrpcMethod, Request, Response, Status};
use tonic_prost::ProstCodec;
use toolbooth::BoxError;
use tower::{Layer, Service, service_fn};

/// How a call of a method ends.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Text(&'static str),
    Status(Code),
    /// After this time.
    Late(Duration),
    Never,
}

/// The function that returns how a call ends.
type Script = dyn Fn(&mut Request<String>) -> Reply + Send + Sync;

/// The methods `Call`, which returns one text, and `Stream`, which returns "item" three times and
/// then ends.
#[derive(Clone)]
pub(crate) struct Tools(Arc<Script>);

pub(crate) const CALL: &str = "/test.Tools/Call";
pub(crate) const STREAM: &str = "/test.Tools/Stream";

// === impl Tools ===

impl Tools {
    pub(crate) fn new<F>(script: F) -> Self
    where
        F: Fn(&mut Request<String>) -> Reply + Send + Sync + 'static,
    {
        Self(Arc::new(script))
    }

    pub(crate) fn always(reply: Reply) -> Self {
        Self::new(move |_| reply.clone())
    }
}

async fn text(reply: Reply) -> Result<String, Status> {
    match reply {
        Reply::Text(text) => Ok(text.to_owned()),
        Reply::Status(code) => Err(Status::new(code, "as scripted")),
        Reply::Late(time) => {
            tokio::time::sleep(time).await;
            Ok("late".to_owned())
        }
        Reply::Never => std::future::pending().await,
    }
}

type Items = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// Three items, then the reply; a text is the end of the stream.
fn items(reply: Reply) -> Items {
    let items = stream::iter((0..3).map(|_| Ok("item".to_owned())));
    Box::pin(items.chain(stream::once(text(reply)).filter(|end| {
        let is_item = end.is_err();
        async move { is_item }
    })))
}

impl NamedService for Tools {
    const NAME: &'static str = "test.Tools";
}

impl Service<http::Request<Body>> for Tools {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let tools = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                CALL => {
                    let method = service_fn(move |mut request: Request<String>| {
                        let reply = (tools.0)(&mut request);
                        async { text(reply).await.map(Response::new) }
                    });
                    grpc.unary(method, request).await
                }
                STREAM => {
                    let method = service_fn(move |mut request: Request<String>| {
                        let items = items((tools.0)(&mut request));
                        async { Ok::<_, Status>(Response::new(items)) }
                    });
                    grpc.server_streaming(method, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// A server with its connections, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    server: JoinHandle<()>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

// === impl Running ===

impl Running {
    /// Closes all connections, as if the network failed.
    pub(crate) fn disconnect(&self) {
        let mut connections = self.connections.lock().expect("no panic");
        connections
            .drain(..)
            .for_each(|connection| connection.abort());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
        self.disconnect();
    }
}

/// Starts tonic's server with this layer around the service. Returns a channel to it.
pub(crate) fn start<L, B>(layer: L, tools: Tools) -> (Channel, Running)
where
    L: Layer<tonic::service::Routes> + Clone + Send + 'static,
    L::Service: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    <L::Service as Service<http::Request<Body>>>::Future: Send,
    <L::Service as Service<http::Request<Body>>>::Error: Into<BoxError> + Send,
    B: http_body::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (connections, accepted) = mpsc::unbounded_channel::<DuplexStream>();
    let accepted = stream::unfold(accepted, async |mut accepted| {
        let connection = accepted.recv().await?;
        Some((Ok::<_, std::io::Error>(connection), accepted))
    });
    let mut server = Server::builder().layer(layer);
    let server = server.add_service(tools);
    let server = tokio::spawn(async move {
        server
            .serve_with_incoming(accepted)
            .await
            .expect("a server");
    });
    let open = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&open);
    let connect = service_fn(move |_: http::Uri| {
        let (client, mut near) = tokio::io::duplex(64 * 1024);
        let (mut far, accepted) = tokio::io::duplex(64 * 1024);
        let sent = connections.send(accepted);
        let copy = tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        opened.lock().expect("no panic").push(copy.abort_handle());
        ready(match sent {
            Ok(()) => Ok(TokioIo::new(client)),
            Err(_) => Err(std::io::Error::other("the server has ended")),
        })
    });
    let endpoint = Endpoint::from_static("http://memory");
    let running = Running {
        server,
        connections: open,
    };
    (endpoint.connect_with_connector_lazy(connect), running)
}

/// A call as a generated client makes it.
pub(crate) async fn call<S>(channel: S, request: Request<String>) -> Result<String, Status>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let (mut client, request) = prepare(channel, request, "Call").await?;
    let codec = ProstCodec::<String, String>::default();
    let response = client.unary(request, PathAndQuery::from_static(CALL), codec);
    response.await.map(Response::into_inner)
}

/// Returns the items of a stream, and the status of its end.
pub(crate) async fn items_of<S>(channel: S, request: Request<String>) -> (usize, Code)
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let mut count = 0;
    let code = match open(channel, request).await {
        Err(status) => status.code(),
        Ok(mut stream) => loop {
            match stream.message().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => break Code::Ok,
                Err(status) => break status.code(),
            }
        },
    };
    (count, code)
}

/// Opens a stream.
pub(crate) async fn open<S>(
    channel: S,
    request: Request<String>,
) -> Result<tonic::Streaming<String>, Status>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let (mut client, request) = prepare(channel, request, "Stream").await?;
    let codec = ProstCodec::<String, String>::default();
    let response = client.server_streaming(request, PathAndQuery::from_static(STREAM), codec);
    response.await.map(Response::into_inner)
}

async fn prepare<S>(
    channel: S,
    mut request: Request<String>,
    method: &'static str,
) -> Result<(tonic::client::Grpc<S>, Request<String>), Status>
where
    S: GrpcService<Body>,
{
    let mut client = tonic::client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let method = GrpcMethod::new("test.Tools", method);
    request.extensions_mut().insert(method);
    Ok((client, request))
}

pub(crate) fn message() -> Request<String> {
    Request::new("TODO".to_owned())
}
