//! The tools of a remote MCP server, with a limit, a timeout and progress around them.
//!
//! ```text
//! cargo run -p toolbooth-examples --features mcp --example mcp_remote [-- PROGRAM ARGS...]
//! ```
//!
//! Without arguments the server is this program itself, with `--serve`: it needs no network. The
//! tool `index` is called with enough time, and again with too little. The second call is cancelled
//! at the server, and its partial result is what the server had reported. Then the server ends in
//! the middle of a call, and is started again by the next one. The run exits with 1 if a result is
//! not the expected one.
//!
//! With the command line of another server, its tools are listed.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, ErrorKind, PartialResultLayer, TimeoutLayer,
    ToolCall, ToolSpec, Toolbox, UpdateKind, tool_fn,
};
use toolbooth_mcp::{McpServer, RemoteError, RemoteServer};
use tower::ServiceExt;

#[derive(Deserialize)]
struct Index {
    files: u64,
}

async fn index(call: CallContext, args: Index) -> Result<String, BoxError> {
    for file in 1..=args.files {
        tokio::time::sleep(Duration::from_millis(100)).await;
        call.progress(file, args.files, format!("read file {file}"));
    }
    Ok(format!("{} files", args.files))
}

#[expect(clippy::exit, reason = "the end of a server is shown")]
async fn crash(_: ()) -> Result<(), BoxError> {
    eprintln!("the disk is gone");
    std::process::exit(3)
}

/// The server: another program in practice.
async fn serve() -> Result<(), BoxError> {
    let toolbox = Toolbox::builder()
        .tool(ToolSpec::new("index"), tool_fn("index", index))
        .tool(ToolSpec::new("crash"), tool_fn("crash", crash))
        .build()?;
    let served = McpServer::new(toolbox).serve_stdio().await?;
    served.waiting().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args_os().skip(1);
    let server = match args.next() {
        Some(serves) if serves == "--serve" => return serve().await,
        Some(program) => {
            let server = RemoteServer::stdio(program).with_args(args);
            let server = server.connect().await?;
            for (spec, _) in server.tools() {
                println!(
                    "{}: {}",
                    spec.name(),
                    spec.description().unwrap_or_default()
                );
            }
            server.close().await;
            return Ok(());
        }
        None => RemoteServer::stdio(std::env::current_exe()?).with_arg("--serve"),
    };
    let server = server
        .with_name("example")
        .with_prefix("remote_")
        .connect()
        .await?;

    // The layers are here, so they work for any server.
    let toolbox = Toolbox::builder()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(ConcurrencyLimitLayer::per_tool(2))
        .layer(PartialResultLayer::new())
        .build()?;
    let installed = server.install(&toolbox)?;
    println!("tools: {:?}", installed.names());

    let call = ToolCall::new("remote_index", json!({ "files": 3 }));
    let mut updates = call.updates();
    let output = toolbox.clone().oneshot(call).await?.collect().await?;
    while let Some(update) = updates.recv().await {
        if let UpdateKind::Progress(progress) = update.kind {
            println!("progress: {} of {:?}", progress.done(), progress.total());
        }
    }
    println!("index: {}", output.text());
    assert_eq!(output.text(), "3 files");

    // The server is notified, and stops.
    let long = ToolCall::new("remote_index", json!({ "files": 1_000 }));
    let error = toolbox.clone().oneshot(long).await.err();
    let error = error.ok_or("1,000 files take longer")?;
    println!("index: {error}");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let progress = error.partial().and_then(|partial| partial.progress());
    println!(
        "it had read {} files",
        progress.map_or(0, |progress| progress.done())
    );

    let crash = ToolCall::new("remote_crash", json!({}));
    let error = toolbox.clone().oneshot(crash).await.err();
    let error = error.ok_or("the server ends")?;
    let reason = RemoteError::find(&error).ok_or("the server has ended")?;
    println!("crash: {reason}");
    println!("for a client: {}", error.public_message());

    let again = ToolCall::new("remote_index", json!({ "files": 1 }));
    let output = toolbox.clone().oneshot(again).await?.collect().await?;
    println!(
        "index: {}, after {} restart",
        output.text(),
        server.status().restarts
    );
    assert_eq!(server.status().restarts, 1);

    server.close().await;
    Ok(())
}
