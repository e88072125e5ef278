//! The layers in tonic: a gRPC service with a unary and a streaming method, and a client that
//! reaches each of its limits.
//!
//! ```text
//! cargo run -p toolbooth-examples --features servers --example tonic_app
//! ```
//!
//! It starts on a free port of loopback, sends requests to itself, and prints the responses. The
//! service is in `servers/grpc/`. `servers/build.rs` generates its code without `protoc`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use toolbooth::BoxError;
use toolbooth_examples::servers::grpc::{self, CallRequest, CountRequest, ToolsClient};
use toolbooth_examples::servers::{Limits, toolbox};

type Client = ToolsClient<Channel>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let limits = Limits::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?);
    tokio::spawn(grpc::serve(listener, toolbox()?, limits.clone()));
    let channel = Endpoint::from_shared(server)?.connect().await?;
    let client = Client::new(channel);

    println!("Responses of each method:");
    show(call(&client, "sum", r#"{"numbers":[1,2,3.5]}"#).await);
    show(count(&client, 3, None).await);

    println!("\nErrors of tools:");
    show(call(&client, "sum", r#"{"numbers":[1,"two"]}"#).await);
    show(call(&client, "sing", "{}").await);

    println!("\nA limit of 500 ms on the whole response:");
    show(call(&client, "sleep", r#"{"millis":60000}"#).await);
    show(count(&client, 1_000, None).await);

    println!("\nA `grpc-timeout` of 200 ms, on the whole response as well:");
    show(count(&client, 1_000, Some(Duration::from_millis(200))).await);

    println!("\nAt most 2 concurrent calls of all methods together:");
    let (slept, counted, rejected) = tokio::join!(
        call(&client, "sleep", r#"{"millis":100}"#),
        count(&client, 3, None),
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            count(&client, 3, None).await
        },
    );
    for reply in [slept, counted, rejected] {
        show(reply);
    }

    println!("\nA burst of at most 20 calls of all methods together:");
    let calls = (0..30).map(|_| call(&client, "sum", r#"{"numbers":[1]}"#));
    let mut replies = join_all(calls).await.into_iter();
    let rejected = replies.find(|reply| reply.contains(&format!("{:?}", Code::ResourceExhausted)));
    show(rejected.ok_or("the rate limit rejected no call")?);

    let in_flight = limits.at_once.in_flight();
    println!("\nAt the end {in_flight} calls hold a permit.");
    Ok(())
}

/// Calls the unary method.
async fn call(client: &Client, tool: &str, args: &str) -> String {
    let start = Instant::now();
    let request = CallRequest {
        tool: tool.to_owned(),
        args: args.to_owned(),
    };
    let result = match client.clone().call(request).await {
        Ok(reply) => reply.into_inner().result,
        Err(status) => text(&status),
    };
    let millis = start.elapsed().as_millis();
    format!("Call {tool} {args} -> {result} ({millis} ms)")
}

/// Calls the streaming method.
async fn count(client: &Client, count: u64, timeout: Option<Duration>) -> String {
    let start = Instant::now();
    let mut request = Request::new(CountRequest { count });
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let mut result = String::new();
    match client.clone().count(request).await {
        Ok(reply) => {
            let mut numbers = reply.into_inner();
            loop {
                match numbers.message().await {
                    Ok(Some(number)) => result += &format!("{} ", number.value),
                    Ok(None) => break,
                    Err(status) => {
                        result += &format!("then error: {}", text(&status));
                        break;
                    }
                }
            }
        }
        Err(status) => result = text(&status),
    }
    let millis = start.elapsed().as_millis();
    format!("Count {count} -> {result} ({millis} ms)")
}

fn text(status: &Status) -> String {
    let retry_after = status.metadata().get("retry-after");
    let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok());
    let retry_after = retry_after.map_or(String::new(), |seconds| {
        format!(", retry after {seconds} s")
    });
    format!("{:?}: {}{retry_after}", status.code(), status.message())
}

fn show(reply: impl std::fmt::Display) {
    println!("  {reply}");
}
