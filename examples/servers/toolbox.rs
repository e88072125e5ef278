use std::convert::Infallible;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use toolbooth::{Content, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::ServiceExt;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

/// Any number of tools as one service, which dispatches calls by name.
pub type Toolbox = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

#[derive(Deserialize)]
struct Sum {
    numbers: Vec<f64>,
}

#[derive(Deserialize)]
struct Sleep {
    millis: u64,
}

/// Makes a toolbox of two tools, `sum` and `sleep`.
#[must_use]
pub fn toolbox() -> Toolbox {
    let sum = tool_fn("sum", async |sum: Sum| {
        Ok::<_, Infallible>(json!({ "sum": sum.numbers.iter().sum::<f64>() }))
    });
    let sleep = tool_fn("sleep", async |sleep: Sleep| {
        tokio::time::sleep(Duration::from_millis(sleep.millis)).await;
        Ok::<_, Infallible>(json!({ "slept": sleep.millis }))
    });
    let (sum, sleep) = (
        BoxCloneSyncService::new(sum),
        BoxCloneSyncService::new(sleep),
    );
    BoxCloneSyncService::new(service_fn(move |call: ToolCall| {
        let tool: Option<&Toolbox> = match call.name() {
            "sum" => Some(&sum),
            "sleep" => Some(&sleep),
            _ => None,
        };
        let tool = tool.cloned();
        async move {
            match tool {
                Some(tool) => tool.oneshot(call).await,
                None => Err(ToolError::unknown_tool(call.name())),
            }
        }
    }))
}

/// Calls a tool, and returns its response as one JSON value.
pub(super) async fn call_json(tools: Toolbox, call: ToolCall) -> Result<Value, ToolError> {
    let response = tools.oneshot(call).await?.collect().await?;
    match response.contents() {
        [Content::Json(value)] => Ok(value.clone()),
        _ => Err(ToolError::failed("the response is not one JSON value")),
    }
}
