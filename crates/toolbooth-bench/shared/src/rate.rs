//! A rate limit whose quota is so high that no call waits for a token.

use toolbooth_redis::SharedLimits;
use tower::Layer;

use crate::Error;
use crate::bare::{self, Tool};
use crate::contender::{Contender, Pace, Plan};
use crate::limits::{per_second, rate, scripts, shared, tool};
use crate::measure::{Spread, rounds};
use crate::peers;
use crate::report::{figure, of, table};
use crate::server::Server;

/// How many tokens a process takes in advance.
pub(crate) const PREFETCH: u32 = 256;

pub(crate) async fn measure(server: &Server, few: bool) -> Result<(), Error> {
    let paces = [
        ("one call after the other", Pace::Sequential, 6_400),
        ("64 calls in flight", Pace::InFlight(64), 25_600),
    ];
    for (title, pace, calls) in paces {
        let mut contenders = vec![tool()];
        contenders.extend(limits(&shared(&server.url()).await?, title, 1_000_000)?);
        contenders.extend(peers::all(&server.url(), title).await?);
        contenders.extend(scripts(&server.url()).await?);
        let calls = if few { calls / 100 } else { calls };
        rounds(&mut contenders, Plan { calls, pace }, few, server).await?;
        table(&format!("Rate, {title}"), &contenders, "bare");
        let ratio = |ours, theirs| {
            let (ours, theirs) = (of(&contenders, ours), of(&contenders, theirs));
            Spread::ratio(ours, theirs, |round| round.micros)
        };
        for base in ["bare", "tower-rate-limit-redis", "limitador"] {
            figure(&format!("`shared` / `{base}`"), ratio("shared", base));
        }
        let cached = ratio("shared_prefetch", "limitador_cached");
        figure("`shared_prefetch` / `limitador_cached`", cached);
        println!();
    }
    Ok(())
}

/// Returns a rate limit of this process, one that is shared, and one that takes in advance.
pub(crate) fn limits(
    shared: &SharedLimits,
    name: &str,
    starts: u32,
) -> Result<[Contender; 3], Error> {
    let layer = rate(per_second(starts)?);
    let each = shared.rate(name, layer.clone());
    let ahead = shared.with_prefetch(PREFETCH);
    let ahead = ahead.rate(format!("{name} ahead"), layer.clone());
    Ok([
        Contender::new("local", layer.layer(Tool), bare::call),
        Contender::new("shared", each.layer(Tool), bare::call),
        Contender::new("shared_prefetch", ahead.layer(Tool), bare::call),
    ])
}
