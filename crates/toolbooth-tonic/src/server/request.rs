//! What the layers inside read of a request.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use toolbooth::{CallDeadline, CallTenant, Name, RequestHead, ToolName, ToolRequest};

use crate::timeout::timeout_of;

/// The time by which the deadline is before that of tonic's server.
const BEFORE_TONIC: Duration = Duration::from_millis(5);

type TenantOf = dyn Fn(RequestHead<'_>) -> Option<Name> + Send + Sync;

/// The settings of a server layer.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) methods: Methods,
    pub(super) tenant: Option<Arc<TenantOf>>,
}

/// The paths of the methods that the server knows, without the first `/`.
#[derive(Clone, Default)]
pub(super) struct Methods(HashSet<Name>);

// === impl Settings ===

impl Settings {
    /// Adds the extensions from which the context of the call is made.
    pub(super) fn prepare<B>(&self, request: &mut Request<B>) {
        if let Some(name) = self.methods.name_of(request.uri().path()) {
            request.extensions_mut().insert(ToolName::new(name));
        }
        if let Some(deadline) = deadline_of(request) {
            request.extensions_mut().insert(deadline);
        }
        let tenant = self.tenant.as_ref().zip(request.http_head());
        if let Some(tenant) = tenant.and_then(|(tenant, head)| tenant(head)) {
            request.extensions_mut().insert(CallTenant::new(tenant));
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("methods", &self.methods.0)
            .field("has_tenant", &self.tenant.is_some())
            .finish()
    }
}

/// Returns the deadline of the header `grpc-timeout`.
fn deadline_of<B>(request: &Request<B>) -> Option<CallDeadline> {
    let timeout = timeout_of(request.headers())?.saturating_sub(BEFORE_TONIC);
    let deadline = Instant::now().checked_add(timeout)?;
    Some(CallDeadline::new(deadline))
}

// === impl Methods ===

impl Methods {
    pub(super) fn extend(&mut self, methods: impl Iterator<Item = Name>) {
        self.0.extend(methods.map(|method| {
            let name = method.strip_prefix('/').map(Name::from);
            name.unwrap_or(method)
        }));
    }

    fn name_of(&self, path: &str) -> Option<Name> {
        self.0.get(path.strip_prefix('/')?).cloned()
    }
}
