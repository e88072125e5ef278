//! The layers around axum's routes: an application that serves JSON, a streamed body and server-sent events, and a
//! client that finds each of its limits.
//!
//! ```text
//! cargo run -p toolbooth-examples --features servers --example axum_app
//! ```
//!
//! It starts on a free port of loopback, calls itself, prints what came back, and ends. The routes are in
//! `servers/http/`, the limits that they share in `servers/limits.rs`.

#![expect(clippy::print_stdout, reason = "the answers are what it is for")]

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
    let app = http::app(toolbox(), &limits);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client::new(listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());

    println!("Each route answers:");
    show(&client.post("/tools/sum", r#"{"numbers":[1,2,3.5]}"#).await);
    show(&client.get("/numbers/3").await);
    show(&client.get("/ticks/2").await);
    show(&client.send(Method::HEAD, "/numbers/3", "").await);

    println!("\nWhat a tool returns has its status:");
    show(&client.post("/tools/sum", r#"{"numbers":[1,"two"]}"#).await);
    show(&client.post("/tools/sing", "{}").await);

    println!("\nA limit of 500 ms, for the whole answer:");
    show(&client.post("/tools/sleep", r#"{"millis":60000}"#).await);
    show(&client.get("/numbers/1000").await);

    println!("\nAt most 2 calls at once, over all routes together:");
    let long = r#"{"millis":100}"#;
    let (slept, streamed, refused) = tokio::join!(
        client.post("/tools/sleep", long),
        client.get("/ticks/3"),
        client.after_a_moment("/numbers/3"),
    );
    for answer in [slept, streamed, refused] {
        show(&answer);
    }

    println!("\nAt most 20 calls at one moment, over all routes together:");
    let calls = (0..30).map(|_| client.post("/tools/sum", r#"{"numbers":[1]}"#));
    let answers = join_all(calls).await;
    let refused = answers.iter().find(|answer| answer.status == 429);
    show(refused.ok_or("the rate limit refused no call")?);

    // What a server waits for before it ends.
    let report = limits.cleanup.drain(Duration::from_secs(1)).await;
    let (in_flight, ran) = (limits.at_once.in_flight(), report.ran);
    println!("\nAfter all that {in_flight} calls hold a permit, and {ran} cleanup hooks have run.");
    Ok(())
}

fn show(answer: &Reply) {
    println!("  {answer}");
}
