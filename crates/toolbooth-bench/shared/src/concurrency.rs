//! A concurrency limit of 64: acquire and release for each call.

use crate::Error;
use crate::contender::{Pace, Plan};
use crate::limits::{concurrency, scripts, tool};
use crate::measure::{Spread, rounds};
use crate::report::{figure, of, table, target};
use crate::server::Server;

const PERMITS: u32 = 64;

pub(crate) async fn measure(server: &Server, few: bool) -> Result<(), Error> {
    let paces = [
        ("one call after the other", Pace::Sequential, 6_400),
        ("with pauses between calls", Pace::Pauses, 6_400),
        ("64 calls in flight", Pace::InFlight(PERMITS), 25_600),
    ];
    for (title, pace, calls) in paces {
        let mut contenders = vec![tool()];
        contenders.extend(concurrency(&server.url(), PERMITS as usize).await?);
        contenders.extend(scripts(&server.url()).await?);
        let calls = if few { calls / 100 } else { calls };
        rounds(&mut contenders, Plan { calls, pace }, few, server).await?;
        table(&format!("Concurrency, {title}"), &contenders, "bare");
        let shared = of(&contenders, "shared");
        let ratio = |base| Spread::ratio(shared, of(&contenders, base), |round| round.micros);
        target("`shared` / `bare`", ratio("bare"), 1.3);
        figure("`shared` / `bare_work`", ratio("bare_work"));
        println!();
    }
    Ok(())
}
