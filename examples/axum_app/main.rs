//! The layers in axum: an application that serves JSON, a streaming body and server-sent events,
//! and a client that reaches each of its limits.
//!
//! ```text
//! cargo run -p toolbooth-examples --features servers --example axum_app
//! ```
//!
//! It starts on a free port of loopback, sends requests to itself, and prints the responses. The
//! routes are in `servers/http/`, their limits in `servers/limits.rs`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod client;

use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use toolbooth::BoxError;
use toolbooth_examples::servers::{Limits, http, toolbox};

use crate::client::{Client, Reply};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let limits = Limits::new();
    let app = http::app(toolbox()?, &limits);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client::new(listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());

    println!("Responses of each route:");
    show(&client.post("/tools/sum", r#"{"numbers":[1,2,3.5]}"#).await);
    show(&client.get("/tools/sum").await);
    show(&client.get("/numbers/3").await);
    show(&client.get("/ticks/2").await);
    show(&client.send(Method::HEAD, "/numbers/3", "").await);

    println!("\nErrors of tools:");
    show(&client.post("/tools/sum", r#"{"numbers":[1,"two"]}"#).await);
    show(&client.post("/tools/sing", "{}").await);

    println!("\nA limit of 500 ms on the whole response:");
    show(&client.post("/tools/sleep", r#"{"millis":60000}"#).await);
    show(&client.get("/numbers/1000").await);
    show(&client.get("/ticks/1000").await);

    println!("\nAt most 2 concurrent calls of all routes together:");
    let long = r#"{"millis":100}"#;
    let (slept, streamed, rejected) = tokio::join!(
        client.post("/tools/sleep", long),
        client.get("/ticks/3"),
        client.after_a_moment("/numbers/3"),
    );
    for reply in [slept, streamed, rejected] {
        show(&reply);
    }

    println!("\nA burst of at most 20 calls of all routes together:");
    let calls = (0..30).map(|_| client.post("/tools/sum", r#"{"numbers":[1]}"#));
    let replies = join_all(calls).await;
    let rejected = replies.iter().find(|reply| reply.status == 429);
    show(rejected.ok_or("the rate limit rejected no call")?);

    // A server waits for this before it exits.
    let report = limits.cleanup.drain(Duration::from_secs(1)).await;
    let (in_flight, ran) = (limits.at_once.in_flight(), report.ran);
    println!("\nAt the end {in_flight} calls hold a permit, and {ran} cleanup hooks have run.");
    Ok(())
}

fn show(reply: &Reply) {
    println!("  {reply}");
}
