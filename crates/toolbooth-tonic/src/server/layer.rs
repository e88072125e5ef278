use std::fmt;
use std::sync::Arc;

use toolbooth::{Name, RequestHead};
use tower_layer::Layer;

use super::request::Settings;
use super::service::GrpcServer;

/// Converts the headers of gRPC for the layers inside, and their errors into statuses. See the
/// [module](super).
///
/// Clones share the settings.
#[derive(Clone, Default)]
pub struct ServerLayer {
    settings: Arc<Settings>,
}

// === impl ServerLayer ===

impl ServerLayer {
    /// Creates a layer that knows no method and no tenant.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds methods whose path becomes the name of the tool, such as `/search.Search/Query`. The
    /// first `/` may be missing, and the name does not have it.
    ///
    /// By default there are none, and each call has the name `POST *`.
    #[must_use]
    pub fn with_methods<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Name>,
    {
        let methods = methods.into_iter().map(Into::into);
        let settings = Arc::make_mut(&mut self.settings);
        settings.methods.extend(methods);
        self
    }

    /// Sets the function that returns the tenant of a request, such as by a header or an extension
    /// that an authenticating layer outside has set. By default there is no tenant.
    ///
    /// Return only what the server has verified: every tenant is a key of limits and a label of
    /// metrics.
    ///
    /// ```
    /// use toolbooth::Name;
    /// use toolbooth_tonic::ServerLayer;
    ///
    /// #[derive(Clone)]
    /// struct Tenant(Name);
    ///
    /// let layer = ServerLayer::new()
    ///     .with_tenant(|head| head.extension::<Tenant>().map(|tenant| tenant.0.clone()));
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn with_tenant<F>(mut self, tenant: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<Name> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.settings).tenant = Some(Arc::new(tenant));
        self
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = GrpcServer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcServer::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for ServerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerLayer").field(&self.settings).finish()
    }
}
