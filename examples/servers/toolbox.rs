use std::convert::Infallible;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use toolbooth::toolbox::ToolboxError;
use toolbooth::{Content, ToolCall, ToolError, Toolbox, tool_fn};
use tower::ServiceExt;

#[derive(Deserialize)]
struct Sum {
    numbers: Vec<f64>,
}

#[derive(Deserialize)]
struct Sleep {
    millis: u64,
}

/// Makes a toolbox of two tools, `sum` and `sleep`.
///
/// # Errors
/// If the toolbox cannot be built: never with these names.
pub fn toolbox() -> Result<Toolbox, ToolboxError> {
    let sum = tool_fn("sum", async |sum: Sum| {
        Ok::<_, Infallible>(json!({ "sum": sum.numbers.iter().sum::<f64>() }))
    });
    let sleep = tool_fn("sleep", async |sleep: Sleep| {
        tokio::time::sleep(Duration::from_millis(sleep.millis)).await;
        Ok::<_, Infallible>(json!({ "slept": sleep.millis }))
    });
    Toolbox::builder()
        .tool("sum", sum)
        .tool("sleep", sleep)
        .build()
}

/// Calls a tool, and returns its response as one JSON value.
pub(super) async fn call_json(tools: Toolbox, call: ToolCall) -> Result<Value, ToolError> {
    let response = tools.oneshot(call).await?.collect().await?;
    match response.contents() {
        [Content::Json(value)] => Ok(value.clone()),
        _ => Err(ToolError::failed("the response is not one JSON value")),
    }
}
