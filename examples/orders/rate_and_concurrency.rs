//! A rate limit and a concurrency limit: is a permit held by a call that waits for its token, or a token spent on a call
//! that gets no permit?

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
use crate::pair::{Pair, Row, shown};

const TAKES: Duration = Duration::from_millis(10);
const TOKEN_EVERY: Duration = Duration::from_millis(100);
/// When all who can start have ended, and the others wait for tokens.
const LATER: Duration = Duration::from_millis(50);

struct Seen {
    held: usize,
    lookup: Duration,
}

pub(crate) async fn run() -> Result<Pair, BoxError> {
    let seen = [waiting(true).await?, waiting(false).await?];
    let spent = [refused(true).await, refused(false).await];
    Ok(Pair {
        orders: ["rate outside of limit", "limit outside of rate"],
        story: "Rate limit and concurrency limit: 3 searches at once, a token each 100 ms, 2 permits that lookups share.",
        rows: vec![
            Row::new(
                "permits held at 50 ms, while 2 searches wait for tokens",
                seen.each_ref().map(|s| s.held),
                ["0", "2"],
            ),
            Row::new(
                "a lookup of 10 ms, made then, is answered after",
                seen.each_ref().map(|s| shown(s.lookup)),
                ["10 ms", "70 ms"],
            ),
            Row::new(
                "1 permit, no waiting, 3 calls at once: tokens spent on the 2 that are refused",
                spent,
                ["2", "0"],
            ),
        ],
        why: "Outside, the rate limit lets nobody hold a permit who has no token; the price is a token for a call that then finds\n\
              no permit. Inside, it spends no token on a call that does not run; the price is a permit that does nothing meanwhile.",
    })
}

fn tool() -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {
    tool_fn("tool", async |_: ()| {
        sleep(TAKES).await;
        Ok::<_, BoxError>("done")
    })
}

/// Searches that wait for tokens, and a lookup that needs none but shares the permits.
async fn waiting(rate_outside: bool) -> Result<Seen, BoxError> {
    let quota = Quota::with_period(TOKEN_EVERY).ok_or("longer than 0")?;
    let rate = RateLimitLayer::new(quota);
    let limit = ConcurrencyLimitLayer::new(2);
    let lookup = limit.layer(tool());
    let look = async {
        sleep(LATER).await;
        let held = limit.in_flight();
        let lookup = make(&lookup).await.after;
        Seen { held, lookup }
    };
    let seen = match rate_outside {
        true => {
            join(make_all(&rate.layer(limit.layer(tool())), 3), look)
                .await
                .1
        }
        false => {
            join(make_all(&limit.layer(rate.layer(tool())), 3), look)
                .await
                .1
        }
    };
    Ok(seen)
}

/// How many of 5 tokens are spent on calls that do not run.
async fn refused(rate_outside: bool) -> usize {
    const TOKENS: NonZeroU32 = NonZeroU32::new(5).expect("not 0");
    // None comes back while it is looked at.
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(TOKENS));
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let calls = match rate_outside {
        true => make_all(&rate.layer(limit.layer(tool())), 3).await,
        false => make_all(&limit.layer(rate.layer(tool())), 3).await,
    };
    let ran = calls.iter().filter(|call| call.error.is_none()).count();
    let spent = TOKENS.get() - rate.remaining();
    usize::try_from(spent).map_or(usize::MAX, |spent| spent - ran)
}
