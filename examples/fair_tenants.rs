//! One tenant sends a hundred calls at once, two others a few: waiting times in a FIFO queue and in
//! a queue that is fair between tenants.
//!
//! Then one tenant has three shares, and finally each tenant has limits of its own: on running
//! calls, and on calls a second and a day, decided together.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, ErrorKind, Name, Order, PerTool, Quota,
    RateLimitLayer, ToolCall, tool_fn,
};
use tower::{Layer, ServiceExt};

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or("unknown").into()
}

fn calls() -> impl Iterator<Item = ToolCall> {
    let of = |tenant: &'static str, count: usize| {
        (0..count).map(move |_| ToolCall::new("query", json!(null)).with_tenant(tenant))
    };
    of("busy", 100)
        .chain(of("small", 2))
        .chain(of("paying", 30))
}

/// Returns the time of the last response of each tenant, in milliseconds.
async fn last_responses(order: Order) -> Result<BTreeMap<String, u128>, BoxError> {
    let tool = tool_fn("query", async |(): ()| {
        sleep(Duration::from_millis(10)).await;
        Ok::<_, BoxError>("42 rows")
    });
    let tool = ConcurrencyLimitLayer::new(2).with_order(order).layer(tool);
    let begin = Instant::now();
    let results = calls().map(|call| {
        let tool = tool.clone();
        let tenant = tenant(call.context()).to_string();
        async move {
            tool.oneshot(call).await?;
            Ok::<_, BoxError>((tenant, begin.elapsed().as_millis()))
        }
    });
    let mut last = BTreeMap::new();
    for result in join_all(results).await {
        let (tenant, at) = result?;
        let latest = last.entry(tenant).or_default();
        *latest = at.max(*latest);
    }
    Ok(last)
}

// The paused clock advances only while all tasks wait, so each run takes no time and has the same
// results.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let fair = || Order::fair_by(tenant);
    let shares = |tenant: &str| if tenant == "paying" { 3 } else { 1 };
    for (title, order) in [
        ("first in, first out", Order::fifo()),
        ("fair between tenants", fair()),
        (
            "fair, with three shares for one tenant",
            fair().with_shares(shares),
        ),
    ] {
        let last = last_responses(order).await?;
        println!("{title}: last responses after {last:?} ms");
        // The tenant's own two calls, after at most two of each other tenant.
        let small = last.get("small").copied();
        match title {
            "first in, first out" => assert_eq!(small, Some(510)),
            _ => assert!(small <= Some(60)),
        }
    }

    // Shares order the calls of one queue. Limits by key separate the tenants completely.
    let [five, daily] = [5, 3].map(NonZeroU32::new).map(|n| n.ok_or("not 0"));
    let (five, daily) = (five?, daily?);
    let day = Duration::from_secs(86_400);
    let daily = Quota::with_period(day / daily.get())
        .ok_or("not 0")?
        .allow_burst(daily);
    let limit = ConcurrencyLimitLayer::by(1, tenant);
    // The tenant `small` has a quota for each day, too.
    let daily = PerTool::none().with("small", daily);
    let rate = RateLimitLayer::by(Quota::per_second(five), tenant)
        .with_quota(daily)
        .reject();
    let echo = tool_fn("query", async |(): ()| Ok::<_, BoxError>("42 rows"));
    let tool = rate.layer(limit.layer(echo));
    let results = join_all(calls().map(|call| tool.clone().oneshot(call))).await;
    let rejected = results.iter().filter(|result| {
        let error = result.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::RateLimited)
    });
    let rejected = rejected.count();
    println!(
        "five a second for each tenant: {} of {} rejected",
        rejected,
        results.len()
    );
    assert_eq!(rejected, 95 + 25);
    assert_eq!(rate.remaining_for("small"), 1);
    Ok(())
}
