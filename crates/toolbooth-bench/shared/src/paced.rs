//! The processor time of 10,000 calls a second.

use crate::Error;
use crate::contender::{Pace, Plan};
use crate::limits::{shared, tool};
use crate::measure::{Round, Spread, rounds};
use crate::rate::limits;
use crate::report::{figure, of, table, target};
use crate::server::Server;

/// How many calls each millisecond has.
const CALLS: u32 = 10;

pub(crate) async fn measure(server: &Server, few: bool) -> Result<(), Error> {
    let mut contenders = vec![tool()];
    contenders.extend(limits(&shared(&server.url()).await?, "paced", 20_000)?);
    let plan = Plan {
        calls: if few { 200 } else { 20_000 },
        pace: Pace::EachMillisecond(CALLS),
    };
    rounds(&mut contenders, plan, few, server).await?;
    table("Rate, 10,000 calls a second", &contenders, "tool");
    let processor = |round: &Round| round.processor;
    let [tool, local, ahead] =
        ["tool", "local", "shared_prefetch"].map(|name| of(&contenders, name));
    let whole = Spread::ratio(ahead, local, processor);
    let over = Spread::ratio_over(ahead, local, tool, processor);
    target("processor time, `shared_prefetch` / `local`", whole, 1.5);
    figure("the same, over that of `tool`", over);
    figure("`tool` / `local`", Spread::ratio(tool, local, processor));
    println!();
    Ok(())
}
