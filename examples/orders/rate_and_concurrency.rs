//! Rate limit and concurrency limit: whether a call that waits for its token holds a permit, or a
//! call that waits for its permit holds a token.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, Quota, RateLimitLayer, ToolCall, ToolError, ToolOutput,
    tool_fn,
};
use tower::{Layer, Service};

use crate::calls::{make, make_all};
use crate::pair::{Pair, Row, millis};

const TAKES: Duration = Duration::from_millis(10);
const TOKEN_EVERY: Duration = Duration::from_millis(100);
/// By then the calls that had tokens have ended, and the others wait for tokens.
const LATER: Duration = Duration::from_millis(50);

struct Observed {
    held: usize,
    lookup: Duration,
}

pub(crate) async fn run() -> Result<Pair, BoxError> {
    let observed = [waiting(true).await?, waiting(false).await?];
    let tokens = [queued(true).await, queued(false).await];
    Ok(Pair {
        orders: ["rate outside of limit", "limit outside of rate"],
        scenario: "Rate limit and concurrency limit: 3 searches at once, 10 tokens a second, \
                   2 permits that are shared with lookups.",
        rows: vec![
            Row::new(
                "permits held at 50 ms, while 2 searches wait for tokens",
                observed.each_ref().map(|s| s.held),
                ["0", "2"],
            ),
            Row::new(
                "response time of a lookup of 10 ms, made at 50 ms",
                observed.each_ref().map(|s| millis(s.lookup)),
                ["10 ms", "70 ms"],
            ),
            Row::new(
                "1 permit, 3 calls at once: tokens held by the 2 calls that wait for it",
                tokens,
                ["2", "0"],
            ),
        ],
        why: "Rate limit outside: a call that waits for a token holds no permit.\n\
              In return, a call that waits for its permit holds a token.\n\
              Rate limit inside: only calls that run take tokens.\n\
              In return, permits are idle while their calls wait for tokens.",
    })
}

fn tool() -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {
    tool_fn("tool", async |_: ()| {
        sleep(TAKES).await;
        Ok::<_, BoxError>("done")
    })
}

/// Makes searches that wait for tokens, and a lookup that shares only the permits.
async fn waiting(rate_outside: bool) -> Result<Observed, BoxError> {
    let quota = Quota::with_period(TOKEN_EVERY).ok_or("longer than 0")?;
    let rate = RateLimitLayer::new(quota);
    let limit = ConcurrencyLimitLayer::new(2);
    let lookup = limit.layer(tool());
    let observe = async {
        sleep(LATER).await;
        let held = limit.in_flight();
        let lookup = make(&lookup).await.after;
        Observed { held, lookup }
    };
    let observed = match rate_outside {
        true => {
            join(make_all(&rate.layer(limit.layer(tool())), 3), observe)
                .await
                .1
        }
        false => {
            join(make_all(&limit.layer(rate.layer(tool())), 3), observe)
                .await
                .1
        }
    };
    Ok(observed)
}

/// Returns the number of tokens taken by calls that do not run yet, out of 5.
async fn queued(rate_outside: bool) -> usize {
    const TOKENS: NonZeroU32 = NonZeroU32::new(5).expect("not 0");
    // No token is replenished during the test.
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(TOKENS));
    let limit = ConcurrencyLimitLayer::new(1);
    let observe = async {
        sleep(TAKES / 2).await;
        let taken = TOKENS.get() - rate.remaining();
        usize::try_from(taken).map_or(usize::MAX, |taken| taken - limit.in_flight())
    };
    match rate_outside {
        true => {
            join(make_all(&rate.layer(limit.layer(tool())), 3), observe)
                .await
                .1
        }
        false => {
            join(make_all(&limit.layer(rate.layer(tool())), 3), observe)
                .await
                .1
        }
    }
}
