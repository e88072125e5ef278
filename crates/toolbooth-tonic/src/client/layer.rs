use tower_layer::Layer;

use super::service::GrpcClient;

/// Converts between a client of gRPC and the layers of toolbooth inside: the outermost layer around
/// a channel. See the [module](super).
///
/// - The header `grpc-timeout` of a request, which `Request::set_timeout` sets, is the deadline of
///   the call. So the layers inside obey it, also in queues and within a streaming response.
/// - The name of the tool is that of the method, such as `search.Search/Query`. A generated client
///   adds it to its requests. Otherwise it is `POST *`.
/// - An error of the layers, before and within a response, becomes its [status](crate::status). A
///   status of the server stays as it is.
///
/// A [`ToolName`](toolbooth::ToolName) and a [`CallDeadline`](toolbooth::CallDeadline) that the
/// request has as extensions stay.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ClientLayer;

// === impl ClientLayer ===

impl ClientLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = GrpcClient<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcClient::new(inner)
    }
}
