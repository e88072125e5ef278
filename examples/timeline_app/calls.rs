//! Three tools behind limits, and a load that reaches the limits.

use std::time::Duration;

use serde_json::json;
use tokio::time::{interval, sleep};
use toolbooth::toolbox::ToolboxError;
use toolbooth::{BoxError, CallContext, EventsLayer, Policies, ToolCall, Toolbox, tool_fn};
use toolbooth_timeline::Recorder;
use tower::ServiceExt;

const POLICIES: &str = r#"
    [default]
    timeout = "400ms"
    concurrency = 3

    [tools.search]
    rate = { per_second = 20, burst = 5 }
"#;

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// Builds the tools, whose calls are recorded.
pub(crate) fn toolbox(recorder: &Recorder) -> Result<Toolbox, BoxError> {
    let fetch = tool_fn("fetch", async |page: u64| match page % 6 {
        5 => Err(format!("page {page} is not there")),
        _ => {
            sleep(Duration::from_millis(40 + page % 7 * 25)).await;
            Ok(format!("page {page}"))
        }
    });
    Toolbox::builder()
        .tool("search", tool_fn("search", search))
        .tool("fetch", fetch)
        .tool("import", tool_fn("import", import))
        .layer(EventsLayer::new(recorder.clone()))
        .policies(Policies::from_toml(POLICIES)?)
        .build()
        .map_err(|error: ToolboxError| error.into())
}

async fn search(_query: u64) -> Result<&'static str, BoxError> {
    sleep(Duration::from_millis(60)).await;
    Ok("3 matches")
}

/// Emits a row every 50 ms. Every third import reaches its time limit.
async fn import(call: CallContext, number: u64) -> Result<String, BoxError> {
    call.on_cleanup(async |_| sleep(Duration::from_millis(20)).await);
    let rows = if number % 3 == 2 { 20 } else { 4 };
    for row in 0..rows {
        call.emit(format!("row {row}"));
        sleep(Duration::from_millis(50)).await;
    }
    Ok(format!("{rows} rows"))
}

/// Makes 40 calls a second.
pub(crate) async fn make(toolbox: Toolbox) {
    let mut tick = interval(Duration::from_millis(25));
    for number in 0_u64.. {
        tick.tick().await;
        let tool = ["search", "fetch", "import", "search"][(number % 4) as usize];
        let call =
            ToolCall::new(tool, json!(number / 4)).with_tenant(TENANTS[(number % 3) as usize]);
        // Its outcome is shown.
        tokio::spawn(toolbox.clone().oneshot(call));
    }
}
