//! What a request says about its call.

use std::time::Duration;

use http::request::Parts;
use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, RequestMetaObject};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use tokio::time::Instant;
use toolbooth::{CallPriority, CallTenant, ToolCall};
use toolbooth_core::TraceContext;

use super::settings::Settings;
use crate::convert::TIMEOUT_META_KEY;

/// The maximum deadline that a request may set: a day.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the call of a request, with an id of our own.
pub(super) fn to_call(
    settings: &Settings,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<ToolCall, ErrorData> {
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    let mut call = ToolCall::new(&*request.name, arguments);
    let parts = context.extensions.get::<Parts>();
    let extensions = parts.map(|parts| &parts.extensions);
    let tenant = settings.tenant_of(context).or_else(|| {
        let tenant = extensions?.get::<CallTenant>();
        tenant.map(|tenant| tenant.name().clone())
    });
    if let Some(tenant) = tenant {
        call = call.with_tenant(tenant);
    }
    if let Some(priority) = extensions.and_then(|all| all.get::<CallPriority>()) {
        call = call.with_priority(priority.get());
    }
    if let Some(timeout) = timeout(&context.meta)? {
        call = call.with_deadline(Instant::now() + timeout);
    }
    if let Some(trace) = trace(context) {
        call = call.with_extension(trace);
    }
    Ok(call)
}

fn timeout(meta: &RequestMetaObject) -> Result<Option<Duration>, ErrorData> {
    let Some(value) = meta.0.0.get(TIMEOUT_META_KEY) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(millis) => Ok(Some(Duration::from_millis(millis).min(MAX_TIMEOUT))),
        None => {
            let message = format!("`{TIMEOUT_META_KEY}` must be a whole number of milliseconds");
            Err(ErrorData::invalid_params(message, None))
        }
    }
}

/// Reads the trace context from `_meta`, otherwise from the headers of the HTTP request.
fn trace(context: &RequestContext<RoleServer>) -> Option<TraceContext> {
    match context.meta.get_traceparent() {
        Some(parent) => TraceContext::parse(parent, context.meta.get_tracestate()),
        None => TraceContext::from_headers(&context.extensions.get::<Parts>()?.headers),
    }
}
