//! The tools of the agent.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use toolbooth::toolbox::ToolboxError;
use toolbooth::{
    BoxError, CallContext, CatchPanicLayer, PartialResultLayer, ToolAnnotations, ToolSpec, Toolbox,
    tool_fn,
};

#[derive(Deserialize)]
struct Weather {
    city: String,
}

#[derive(Deserialize)]
struct Search {
    pattern: String,
}

#[derive(Deserialize)]
struct Crawl {
    site: String,
    pages: u32,
}

/// Builds the tools. A call has 2 s, and then its result is what there is.
pub(crate) fn toolbox() -> Result<Toolbox, ToolboxError> {
    let text = json!({ "type": "string" });
    let read_only = ToolAnnotations::new().with_read_only(true);
    let weather = ToolSpec::new("weather")
        .with_description("Returns the weather of a city")
        .with_input_schema(json!({ "properties": { "city": text }, "required": ["city"] }))
        .with_annotations(read_only);
    let search = ToolSpec::new("search")
        .with_description("Finds files by a pattern")
        .with_input_schema(json!({ "properties": { "pattern": text }, "required": ["pattern"] }))
        .with_annotations(read_only);
    let crawl = ToolSpec::new("crawl")
        .with_description("Reads the pages of a site")
        .with_input_schema(json!({
            "properties": { "site": text, "pages": { "type": "integer" } },
            "required": ["site", "pages"],
        }))
        .with_annotations(read_only);
    Toolbox::builder()
        .tool(weather, tool_fn("weather", read_weather))
        .tool(search, tool_fn("search", find))
        .tool(crawl, tool_fn("crawl", read_pages))
        .layer(CatchPanicLayer::new())
        .layer(PartialResultLayer::new())
        .with_timeout(Duration::from_secs(2))
        .build()
}

async fn read_weather(Weather { city }: Weather) -> Result<String, BoxError> {
    match city.as_str() {
        "Oslo" => Ok("rain, 7 degrees".to_owned()),
        _ => Err(format!("no station in {city}").into()),
    }
}

async fn find(Search { pattern }: Search) -> Result<String, BoxError> {
    Ok(format!("{pattern}.md"))
}

async fn read_pages(context: CallContext, crawl: Crawl) -> Result<String, BoxError> {
    let Crawl { site, pages } = crawl;
    let mut read = Vec::new();
    for page in 1..=pages {
        sleep(Duration::from_millis(300)).await;
        let text = format!("page {page} of {site}");
        context.emit(text.clone());
        read.push(text);
    }
    Ok(read.join("\n"))
}
