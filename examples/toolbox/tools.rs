//! The ten tools: an async function and a description each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;
use toolbooth::toolbox::ToolboxBuilder;
use toolbooth::{BoxError, ToolAnnotations, ToolError, ToolSpec, tool_fn};

#[derive(Deserialize, JsonSchema)]
struct Two {
    a: i64,
    b: i64,
}

#[derive(Deserialize, JsonSchema)]
struct City {
    city: String,
}

#[derive(Deserialize, JsonSchema)]
struct Crawl {
    /// How many pages, at most.
    #[schemars(range(max = 100))]
    pages: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Text {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct File {
    path: String,
}

async fn add(Two { a, b }: Two) -> Result<i64, BoxError> {
    Ok(a.checked_add(b).ok_or("the sum is too large")?)
}

async fn multiply(Two { a, b }: Two) -> Result<i64, BoxError> {
    Ok(a.checked_mul(b).ok_or("the product is too large")?)
}

async fn divide(Two { a, b }: Two) -> Result<i64, BoxError> {
    Ok(a.checked_div(b).ok_or("there is no quotient")?)
}

async fn crawl(Crawl { pages }: Crawl) -> Result<String, BoxError> {
    sleep(Duration::from_secs(1) * pages).await;
    Ok(format!("{pages} pages"))
}

async fn upper(Text { text }: Text) -> Result<String, BoxError> {
    Ok(text.to_uppercase())
}

async fn count(Text { text }: Text) -> Result<usize, BoxError> {
    Ok(text.split_whitespace().count())
}

async fn read(File { path }: File) -> Result<String, BoxError> {
    Ok(format!("the contents of {path}"))
}

async fn append(Text { text }: Text) -> Result<String, BoxError> {
    Ok(format!("{text} is on the list"))
}

async fn delete(File { path }: File) -> Result<String, BoxError> {
    Ok(format!("{path} is gone"))
}

/// Adds the tools to a toolbox.
pub(crate) fn add_to(toolbox: ToolboxBuilder) -> ToolboxBuilder {
    let reads = ToolAnnotations::new().with_read_only(true);
    let writes = ToolAnnotations::new().with_destructive(false);
    // The first two requests of its backend fail.
    let requests = Arc::new(AtomicU32::new(0));
    let weather = move |City { city }| {
        let request = requests.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            match request {
                1 | 2 => Err(ToolError::failed("the weather service does not respond")),
                _ => Ok(format!("{city}: -4 °C, at request {request}")),
            }
        }
    };
    toolbox
        .tool(spec::<Two>("add", "Adds", reads), tool_fn("add", add))
        .tool(
            spec::<Two>("multiply", "Multiplies", reads),
            tool_fn("multiply", multiply),
        )
        .tool(
            spec::<Two>("divide", "Divides", reads),
            tool_fn("divide", divide),
        )
        .tool(
            spec::<City>("weather", "Reports the weather", reads),
            tool_fn("weather", weather),
        )
        .tool(
            spec::<Crawl>("crawl", "Reads a site", reads),
            tool_fn("crawl", crawl),
        )
        .tool(
            spec::<Text>("upper", "Writes in capitals", reads),
            tool_fn("upper", upper),
        )
        .tool(
            spec::<Text>("count", "Counts words", reads),
            tool_fn("count", count),
        )
        .tool(
            spec::<File>("read", "Reads a file", reads),
            tool_fn("read", read),
        )
        .tool(
            spec::<Text>("append", "Adds to a list", writes),
            tool_fn("append", append),
        )
        .tool(
            ToolSpec::of::<File>("delete").with_description("Deletes a file"),
            tool_fn("delete", delete),
        )
}

fn spec<Args: JsonSchema>(name: &str, about: &str, hints: ToolAnnotations) -> ToolSpec {
    ToolSpec::of::<Args>(name)
        .with_description(about)
        .with_annotations(hints)
}
