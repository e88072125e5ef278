//! One tenant sends a hundred calls at once, and two others a few: who waits how long, with a line that is fair between tenants and with one that is not.
//!
//! Then the same where one of them pays for three times the share, and where each tenant has a limit and a rate of its own.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, ErrorKind, Name, Order, Quota, RateLimitLayer,
    ToolCall, tool_fn,
};
use tower::{Layer, ServiceExt};

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or("nobody").into()
}

fn calls() -> impl Iterator<Item = ToolCall> {
    let of = |tenant: &'static str, count: usize| {
        (0..count).map(move |_| ToolCall::new("query", json!(null)).with_tenant(tenant))
    };
    of("busy", 100)
        .chain(of("small", 2))
        .chain(of("paying", 30))
}

/// Of each tenant, when its last call was answered, in milliseconds.
async fn last_answers(order: Order) -> Result<BTreeMap<String, u128>, BoxError> {
    let tool = tool_fn("query", async |(): ()| {
        sleep(Duration::from_millis(10)).await;
        Ok::<_, BoxError>("42 rows")
    });
    let tool = ConcurrencyLimitLayer::new(2).with_order(order).layer(tool);
    let begin = Instant::now();
    let answers = calls().map(|call| {
        let tool = tool.clone();
        let tenant = tenant(call.context()).to_string();
        async move {
            tool.oneshot(call).await?;
            Ok::<_, BoxError>((tenant, begin.elapsed().as_millis()))
        }
    });
    let mut last = BTreeMap::new();
    for answer in join_all(answers).await {
        let (tenant, at) = answer?;
        let latest = last.entry(tenant).or_default();
        *latest = at.max(*latest);
    }
    Ok(last)
}

// The clock is paused: time passes only where everybody waits, so that this runs at once and always the same.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let fair = || Order::fair_by(tenant);
    let thrice = |tenant: &str| if tenant == "paying" { 3 } else { 1 };
    for (title, order) in [
        ("first come, first served", Order::fifo()),
        ("fair between tenants", fair()),
        (
            "fair, with three shares for who pays",
            fair().with_shares(thrice),
        ),
    ] {
        let last = last_answers(order).await?;
        println!("{title}: last answers after {last:?} ms");
        // Two of its own, and two of each other one that go before.
        let small = last.get("small").copied();
        match title {
            "first come, first served" => assert_eq!(small, Some(510)),
            _ => assert!(small <= Some(60)),
        }
    }

    // A share says who goes first where somebody must wait. Limits of their own keep tenants apart altogether.
    let five = NonZeroU32::new(5).ok_or("not 0")?;
    let limit = ConcurrencyLimitLayer::by(1, tenant);
    let rate = RateLimitLayer::by(Quota::per_second(five), tenant).reject();
    let echo = tool_fn("query", async |(): ()| Ok::<_, BoxError>("42 rows"));
    let tool = rate.layer(limit.layer(echo));
    let answers = join_all(calls().map(|call| tool.clone().oneshot(call))).await;
    let refused = answers.iter().filter(|answer| {
        let error = answer.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::RateLimited)
    });
    let refused = refused.count();
    println!(
        "five a second for each: {} of {} refused",
        refused,
        answers.len()
    );
    assert_eq!(refused, 95 + 25);
    assert_eq!(rate.remaining_for("small"), 3);
    Ok(())
}
