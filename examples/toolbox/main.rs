//! Ten tools behind one toolbox, as an agent calls them.
//!
//! ```text
//! cargo run -p toolbooth-examples --features toolbox --example toolbox
//! ```
//!
//! Their limits are in `policies.toml`. It retries tools that are idempotent, asks before a tool
//! changes something, applies the policies again when the file changes, and replaces a tool while a
//! call runs. tokio's clock is paused and advances when every task waits,
//! so the run takes no time. It exits with an error if something is not as expected.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod reload;
mod tools;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;
use toolbooth::toolbox::{Denied, GateRequest};
use toolbooth::{BoxError, ErrorKind, ToolCall, ToolError, ToolSpec, Toolbox, tool_fn};
use tower::ServiceExt;

/// Allows tools that change nothing. A person decides about the others.
async fn ask(request: GateRequest) -> Result<(), Denied> {
    if request.spec().annotations().is_read_only() {
        return Ok(());
    }
    // The person takes a minute. Meanwhile the call holds no permit, and its timeout has not begun.
    sleep(Duration::from_secs(60)).await;
    match request.spec().annotations().is_destructive() {
        false => Ok(()),
        true => Err(Denied::new("the person does not want that")),
    }
}

/// Makes one call, and returns the text of its response.
async fn text(toolbox: &Toolbox, name: &str, args: Value) -> Result<String, ToolError> {
    let call = ToolCall::new(name, args).with_tenant("acme");
    Ok(toolbox.clone().oneshot(call).await?.collect().await?.text())
}

/// Makes one call that must fail.
async fn failure(toolbox: &Toolbox, name: &str, args: Value) -> Result<ToolError, BoxError> {
    match text(toolbox, name, args).await {
        Ok(text) => Err(format!("{name} returned {text}").into()),
        Err(error) => Ok(error),
    }
}

/// Changes a copy of the file of policies, which is watched.
async fn change_policies(toolbox: &Toolbox) -> Result<(), BoxError> {
    println!("policies:");
    let text = std::fs::read_to_string(reload::path())?;
    let name = format!("toolbooth-policies-{}.toml", std::process::id());
    let copy = std::env::temp_dir().join(name);
    std::fs::write(&copy, &text)?;
    let (reports, mut reported) = mpsc::unbounded_channel();
    let watch = tokio::spawn(reload::watch(toolbox.clone(), copy.clone(), reports));
    sleep(Duration::from_secs(2)).await;

    std::fs::write(&copy, text.replace("concurrency = 8", "concurrency = 16"))?;
    let change = reported.recv().await.ok_or("it is watched")?;
    println!("  {change}");
    assert_eq!(
        change,
        "group network: concurrency 8, queue 1024 -> 16, queue 1024"
    );

    // A fault changes nothing.
    let before = toolbox.policies();
    std::fs::write(&copy, text.replace("[tools.crawl]", "[tools.crwal]"))?;
    let fault = reported.recv().await.ok_or("it is watched")?;
    println!("  {fault}");
    assert!(fault.contains("there is no tool `crwal`: did you mean `crawl`?"));
    assert_eq!(toolbox.policies(), before);

    watch.abort();
    std::fs::remove_file(copy)?;
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let toolbox = tools::add_to(Toolbox::builder())
        .policies(reload::read(&reload::path())?)
        .with_validated_arguments()
        .gate(ask)
        .build()?;

    println!("{} tools:", toolbox.len());
    for spec in toolbox.specs() {
        let hints = spec.annotations();
        let effect = match (hints.is_read_only(), hints.is_destructive()) {
            (true, _) => "reads",
            (false, false) => "writes",
            (false, true) => "may destroy",
        };
        let about = spec.description().unwrap_or_default();
        println!("  {:<8} {effect:<12} {about}", spec.name());
    }

    println!("the stack of one:");
    print!("{}", toolbox.stack("crawl").ok_or("crawl is there")?);

    println!("calls:");
    let sum = text(&toolbox, "add", json!({ "a": 1, "b": 2 })).await?;
    println!("  add      {sum}");
    assert_eq!(sum, "3");

    // Its backend fails twice. The tool is read-only, so the call is repeated.
    let weather = text(&toolbox, "weather", json!({ "city": "Oslo" })).await?;
    println!("  weather  {weather}");

    let typo = failure(&toolbox, "wether", json!({ "city": "Oslo" })).await?;
    println!("  wether   {}", typo.public_message());
    assert_eq!(typo.kind(), ErrorKind::UnknownTool);

    let wrong = failure(&toolbox, "add", json!({ "a": 1, "b": "two" })).await?;
    println!("  add      {}", wrong.public_message());
    assert_eq!(
        (wrong.kind(), wrong.started()),
        (ErrorKind::InvalidArguments, false)
    );

    let saved = text(&toolbox, "append", json!({ "text": "milk" })).await?;
    println!("  append   {saved}, after the person agreed");

    let denied = failure(&toolbox, "delete", json!({ "path": "/" })).await?;
    println!("  delete   {}", denied.public_message());
    assert_eq!(
        (denied.kind(), denied.started()),
        (ErrorKind::Denied, false)
    );

    change_policies(&toolbox).await?;

    println!("changes:");
    let handle = toolbox.clone();
    let running = tokio::spawn(async move { text(&handle, "crawl", json!({ "pages": 3 })).await });
    sleep(Duration::from_secs(1)).await;
    let faster = tool_fn("crawl", async |_: Value| {
        Ok::<_, ToolError>("3 pages, at once")
    });
    let crawl = toolbox.get("crawl").ok_or("crawl is there")?;
    toolbox.replace(crawl.spec().clone(), faster)?;
    println!("  the running call: {}", running.await??);
    println!(
        "  the next call: {}",
        text(&toolbox, "crawl", json!({ "pages": 3 })).await?
    );

    let again = tool_fn("add", async |_: Value| Ok::<_, ToolError>("5"));
    let error = toolbox
        .insert(ToolSpec::new("add"), again)
        .err()
        .ok_or("it is there")?;
    println!("  {error}");
    toolbox.remove("delete").ok_or("it was there")?;
    println!("  {} tools are left", toolbox.len());
    assert_eq!(toolbox.len(), 9);
    Ok(())
}
