//! The handlers.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value};
use toolbooth::{MAX_NAME, ToolError, ToolSpec};
use toolbooth_core::start_of;
use tower::ServiceExt;

use super::accept::accepts_events;
use super::{Shared, collect, events};
use crate::{Caller, Problem, arguments};

/// The body of `GET /tools`.
#[derive(Serialize)]
struct Listed {
    tools: Vec<ToolSpec>,
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(shared: Shared) -> Router<S> {
    let limit = DefaultBodyLimit::max(shared.settings.max_body);
    Router::new()
        .route("/tools", get(list))
        .route("/tools/{name}", get(describe).merge(post(call)))
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Problem::new(status, "method_not_allowed", "the route has other methods")
        })
        .layer(limit)
        .with_state(Arc::new(shared))
}

async fn list(State(shared): State<Arc<Shared>>) -> Json<Listed> {
    let tools = shared.toolbox.specs();
    Json(Listed { tools })
}

async fn describe(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ToolSpec>, Problem> {
    let tool = shared.toolbox.resolve(&known(name)?)?;
    Ok(Json(tool.spec().clone()))
}

async fn call(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let name = known(name)?;
    let sends_events = accepts_events(request.headers());
    let limit = shared.settings.body_timeout;
    let args: Map<String, Value> = arguments::read(request, &(), limit).await?;
    let call = caller.call(name, Value::Object(args))?;
    if sends_events {
        return events::respond(&shared, caller, call).await;
    }
    let call_id = call.context().id();
    let output = shared.tools.clone().oneshot(call).await?;
    let collected = collect::collect(output, shared.settings.collect_limit).await?;
    collect::json(&call_id, &collected)
}

/// Returns the name in the path. A longer one than a tool has is unknown.
fn known(name: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(name) = name?;
    match name.len() > MAX_NAME {
        true => Err(ToolError::unknown_tool(start_of(&name, MAX_NAME)).into()),
        false => Ok(name),
    }
}
