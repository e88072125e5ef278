//! The spans of tool calls, exported by OTLP and received by a collector in this process.
//!
//! ```text
//! cargo run -p toolbooth-examples --features otlp --example otlp
//! ```
//!
//! The calls are those of an agent: a report that makes three calls, of which one waits, one is
//! retried, and one fails. A call from another process is the parent of all. A real program
//! exports to its collector in the same way, without `collector.rs`.

use std::error::Error;

use toolbooth_examples::otlp::{Span, traced_report};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let spans = traced_report().await?;
    for span in spans.iter().filter(|span| span.parent_in(&spans).is_none()) {
        print(span, &spans, 0);
    }
    Ok(())
}

/// Prints a span, and below it its events and its children.
#[expect(clippy::print_stdout, reason = "an example")]
fn print(span: &Span, spans: &[Span], depth: usize) {
    let indent = "  ".repeat(depth);
    let get = |name: &str| span.get(name).unwrap_or("-");
    println!(
        "{indent}{} ({}): {} ms, waited {} s, error.type {}",
        span.name,
        get("gen_ai.tool.call.id"),
        span.millis,
        get("toolbooth.wait.total"),
        get("error.type"),
    );
    println!("{indent}  events: {}", span.events.join(", "));
    for child in spans.iter().filter(|child| child.parent_id == span.id) {
        print(child, spans, depth + 1);
    }
}
