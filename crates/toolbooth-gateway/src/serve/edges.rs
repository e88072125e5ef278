//! The listeners of a process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::task::TaskTracker;
use toolbooth_timeline::TimelineService;

use super::ServeError;
use super::admin::{self, Admin, Readiness};
use super::http::{ConnectionSettings, Ends, Front, Listener, Origins};
use super::log_limit::LogLimit;
use super::tenants::{FrontSettings, Tenants, Tokens};
use crate::config::{self, Config};

/// The addresses of a file, which are bound and do not accept yet.
#[derive(Debug)]
pub(crate) struct Edges {
    pub(crate) http: Option<Listener>,
    pub(crate) admin: Option<Listener>,
}

/// The connections of an operator at once.
const ADMIN_CONNECTIONS: usize = 64;
/// The time between two lines about requests without a valid token.
const FAILURES: Duration = Duration::from_secs(1);

// === impl Edges ===

impl Edges {
    /// Binds the addresses: one that is in use fails before anything is started.
    pub(crate) async fn bind(config: &Config) -> Result<Self, ServeError> {
        let listen = &config.listen;
        let settings = ConnectionSettings {
            max_connections: listen.max_connections,
            header_timeout: listen.header_timeout,
        };
        let admin = ConnectionSettings {
            max_connections: ADMIN_CONNECTIONS,
            ..settings
        };
        Ok(Self {
            http: bind(listen.http, settings).await?,
            admin: bind(config.admin.as_ref().map(|admin| admin.listen), admin).await?,
        })
    }
}

async fn bind(
    address: Option<SocketAddr>,
    settings: ConnectionSettings,
) -> Result<Option<Listener>, ServeError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = Listener::bind(address, settings).await;
    bound
        .map(Some)
        .map_err(|source| ServeError::Listen { address, source })
}

/// Starts to serve clients.
pub(crate) fn serve_clients(
    listener: Listener,
    listen: &config::Listen,
    tenants: Arc<Tenants>,
    open: TaskTracker,
) -> Ends {
    let address = listener.address();
    let front = Front {
        origins: Origins::new(address, &listen.allowed_hosts, &listen.allowed_origins),
        tenants,
        failures: LogLimit::new(FAILURES),
        open,
    };
    tracing::info!(%address, path = listen.path, api = listen.api, "clients may connect");
    let ends = listener.ends();
    tokio::spawn(listener.serve(front));
    ends
}

/// Starts to serve the operator.
pub(crate) fn serve_admin(
    listener: Listener,
    config: &config::Admin,
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
    timeline: TimelineService,
) -> Ends {
    let address = listener.address();
    let tokens = config.tokens.iter().map(|token| (*token, 0));
    let admin = Admin {
        origins: Origins::new(address, &[], &[]),
        tokens: (!config.tokens.is_empty()).then(|| Tokens::new(tokens)),
        failures: LogLimit::new(FAILURES),
        router: admin::router(readiness, metrics, timeline),
    };
    tracing::info!(%address, "the operator may connect");
    let ends = listener.ends();
    tokio::spawn(listener.serve(admin));
    ends
}

/// Returns the settings of all tenants.
pub(crate) fn front_settings(listen: &config::Listen) -> FrontSettings {
    FrontSettings {
        path: listen.path.clone(),
        api: listen.api,
        max_body: listen.max_body,
    }
}
