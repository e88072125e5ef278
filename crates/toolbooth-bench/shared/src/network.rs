//! One call after the other over a link with a round trip as between the hosts of one data centre.

use tokio::time::Instant;
use tower::Layer;

use crate::Error;
use crate::bare::{self, Tool};
use crate::contender::{Contender, Pace, Plan};
use crate::limits::{concurrency, per_second, rate, scripts, shared};
use crate::measure::{Spread, rounds};
use crate::peers;
use crate::relay::Relay;
use crate::report::{figure, of, table, target};
use crate::server::{Server, connect};

const PERMITS: usize = 64;
const CALLS: u32 = 1_000;
const PINGS: u32 = 1_000;

pub(crate) async fn measure(server: &Server, few: bool) -> Result<(), Error> {
    let relay = Relay::start(server)?;
    let url = relay.url();
    let share = if few { 100 } else { 1 };
    let pings = PINGS / share;
    println!(
        "Round trip of a PING in µs, median of {pings}: {}\n",
        ping(&url, pings).await?
    );
    let plan = Plan {
        calls: CALLS / share,
        pace: Pace::Sequential,
    };

    let [_, permits] = concurrency(&url, PERMITS).await?;
    let mut contenders = vec![permits];
    contenders.extend(scripts(&url).await?);
    rounds(&mut contenders, plan, few, server).await?;
    table("Concurrency over a network", &contenders, "bare");
    target("`shared` / `bare`", ratio(&contenders, "bare"), 1.3);
    figure("`shared` / `bare_work`", ratio(&contenders, "bare_work"));
    println!();

    let tokens = rate(per_second(1_000_000)?);
    let tokens = shared(&url).await?.rate("network", tokens);
    let mut contenders = vec![
        Contender::new("shared", tokens.layer(Tool), bare::call),
        peers::tower_rate_limit(&url, "network").await?,
    ];
    contenders.extend(scripts(&url).await?);
    rounds(&mut contenders, plan, few, server).await?;
    table("Rate over a network", &contenders, "bare");
    target("`shared` / `bare`", ratio(&contenders, "bare"), 1.3);
    let peer = "tower-rate-limit-redis";
    figure(&format!("`shared` / `{peer}`"), ratio(&contenders, peer));
    println!();
    Ok(())
}

/// Divides the times of `shared` by those of another contender.
fn ratio(contenders: &[Contender], base: &str) -> Spread {
    let (shared, base) = (of(contenders, "shared"), of(contenders, base));
    Spread::ratio(shared, base, |round| round.micros)
}

/// Measures the round trip of a command that does nothing, in microseconds.
async fn ping(url: &str, count: u32) -> Result<Spread, Error> {
    let mut connection = connect(url).await?;
    let mut micros = Vec::new();
    for _ in 0..count {
        let sent = Instant::now();
        redis::cmd("PING")
            .query_async::<()>(&mut connection)
            .await?;
        micros.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Spread::of(micros.into_iter()))
}
