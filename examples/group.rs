//! A group of calls: five sources under one deadline, and what came by then.
//!
//! ```text
//! cargo run --example group
//! ```
//!
//! Two sources respond in time. One fails, one is still streaming at the deadline, and one hangs
//! after its first finding: of these two, the report has the partial results.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CallGroup, Content, ErrorKind, Partial, ServiceBuilderExt, ToolCall,
    ToolOutput, tool_fn,
};
use tower::ServiceBuilder;

/// The milliseconds after which each source responds.
const SOURCES: [(&str, u64); 5] = [
    ("wiki", 120),
    ("news", 800),
    ("archive", 60_000),
    ("papers", 250),
    ("forum", 300),
];

/// Asks one source.
async fn ask(call: CallContext, source: String) -> Result<ToolOutput, BoxError> {
    let millis = SOURCES.iter().find(|(name, _)| *name == source);
    let (_, millis) = millis.ok_or("there is no such source")?;
    match source.as_str() {
        "forum" => {
            sleep(Duration::from_millis(*millis)).await;
            Err("the forum is closed".into())
        }
        // A page every 400 ms: a streaming response.
        "news" => {
            let pages = stream::iter(1..=5).then(|page| async move {
                sleep(Duration::from_millis(400)).await;
                Ok::<_, BoxError>(Content::from(format!("news, page {page}")))
            });
            Ok(ToolOutput::stream(pages))
        }
        _ => {
            call.emit(format!("{source}: first finding"));
            sleep(Duration::from_millis(*millis)).await;
            Ok(ToolOutput::text(format!("{source}: all findings")))
        }
    }
}

// The paused clock advances only while all tasks wait, so the run takes no time.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let ask = ServiceBuilder::new()
        .tool_concurrency_limit(8)
        .service(tool_fn("ask", ask));
    let calls = || SOURCES.map(|(source, _)| ToolCall::new("ask", json!(source)));

    // All of them, for one second.
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(Duration::from_secs(1));
    let outcomes = group.all(ask.clone(), calls()).await;
    assert_eq!(started.elapsed(), Duration::from_secs(1));

    let mut complete = 0;
    for ((source, _), outcome) in SOURCES.iter().zip(&outcomes) {
        match outcome {
            Ok(response) => {
                complete += 1;
                println!("{source:>8}: {}", response.text());
            }
            Err(error) => {
                let found = error.partial().map_or(&[][..], Partial::contents);
                println!("{source:>8}: {error}; by then: {found:?}");
            }
        }
    }
    assert_eq!(complete, 2);
    let error = |source: usize| outcomes[source].as_ref().err().ok_or("no error");
    let news = error(1)?.partial().ok_or("two pages came")?;
    assert_eq!(
        news.contents(),
        ["news, page 1".into(), "news, page 2".into()]
    );
    let archive = error(2)?.partial().ok_or("one finding came")?;
    assert_eq!(archive.contents(), ["archive: first finding".into()]);
    assert_eq!(error(4)?.kind(), ErrorKind::Tool);

    // The first two that respond are enough. The others are cancelled at once.
    let started = Instant::now();
    let two = group.quorum(2, ask.clone(), calls()).await?;
    println!("two sources after {:?}", started.elapsed());
    assert_eq!(started.elapsed(), Duration::from_millis(250));
    assert_eq!(two.iter().filter(|outcome| outcome.is_ok()).count(), 2);

    // As they come, two at a time.
    let mut stream = group.with_concurrency(2).outcomes(ask, calls());
    let mut order = Vec::new();
    while let Some((index, outcome)) = stream.next().await {
        order.push((SOURCES[index].0, outcome.is_ok()));
    }
    println!("as they came: {order:?}");
    assert_eq!(order[0], ("wiki", true));
    assert_eq!(order.len(), 5);
    Ok(())
}
