//! What a call costs: the times of `echo`, the processor time and the memory of the proxy.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::client::{Generation, Pipes};
use crate::contender::{Front, Kind, Limits, Places, Running};
use crate::watch::Process;

/// The calls in flight of each load. Over HTTP, each has its client and its connection.
const LOADS: [usize; 3] = [1, 16, 64];

/// One load of one contender in one round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    median: Duration,
    tail: Duration,
    per_second: f64,
    processor: Duration,
    resident: u64,
}

/// The figures of all rounds, by front, load and contender.
type Table = BTreeMap<(&'static str, usize, usize), Vec<Figures>>;

/// Measures all contenders in turns and prints a table.
pub async fn measure(
    kinds: &[Kind],
    places: &Places,
    rounds: usize,
    calls: usize,
) -> Result<(), Error> {
    let mut table = Table::new();
    for round in 0..rounds {
        for (index, &kind) in kinds.iter().enumerate() {
            let mut add = |front, load, figures| {
                table.entry((front, load, index)).or_default().push(figures);
            };
            if let Err(error) = http(kind, places, calls, &mut add).await {
                eprintln!("{} over HTTP: {error}", kind.name());
            }
            if let Err(error) = stdio(kind, places, calls, &mut add).await {
                eprintln!("{} over stdio: {error}", kind.name());
            }
        }
        eprintln!("round {} of {rounds} is done", round + 1);
    }
    print(kinds, &table);
    Ok(())
}

async fn http(
    kind: Kind,
    places: &Places,
    calls: usize,
    add: &mut impl FnMut(&'static str, usize, Figures),
) -> Result<(), Error> {
    let running = Running::start(kind, places, &Limits::wide(), "overhead").await?;
    let process = running.process().ok_or("it has ended")?;
    let params = running.call("echo", &json!({ "text": "x".repeat(100) }));
    for load in LOADS {
        let mut clients = Vec::new();
        for _ in 0..load {
            clients.push(running.client(Generation::Session).await?);
        }
        let each = (calls / load).max(2);
        let mut before = process.usage();
        let mut begun = Instant::now();
        let mut times = Vec::new();
        // The first tenth warms up.
        for share in [each.div_ceil(10), each] {
            before = process.usage();
            begun = Instant::now();
            times.clear();
            let mut tasks = JoinSet::new();
            for mut client in clients.drain(..) {
                let params = params.clone();
                tasks.spawn(async move {
                    let mut times = Vec::with_capacity(share);
                    for _ in 0..share {
                        times.push(one(&mut client, params.clone()).await?);
                    }
                    Ok::<_, Error>((client, times))
                });
            }
            while let Some(done) = tasks.join_next().await {
                let (client, part) = done??;
                clients.push(client);
                times.extend(part);
            }
        }
        add(
            "HTTP",
            load,
            figures(times, begun.elapsed(), process, before.processor),
        );
    }
    running.stop().await;
    Ok(())
}

async fn one(client: &mut crate::client::Http, params: Value) -> Result<Duration, Error> {
    let begun = Instant::now();
    let reply = client.send("tools/call", params).await?;
    if !reply.ok() {
        return Err(format!("a call failed: {}", reply.message).into());
    }
    Ok(reply.at.duration_since(begun))
}

async fn stdio(
    kind: Kind,
    places: &Places,
    calls: usize,
    add: &mut impl FnMut(&'static str, usize, Figures),
) -> Result<(), Error> {
    let name = kind.name().replace(' ', "_");
    let file = places.work.join(format!("{name}.pipes.log"));
    drop(std::fs::remove_file(&file));
    let Some(command) = kind.command(places, Front::Stdio, &Limits::wide(), &file)? else {
        return Ok(());
    };
    let mut client = Pipes::start(&command, File::create(file.with_extension("err"))?).await?;
    let process = client.pid().map(Process).ok_or("it has ended")?;
    let reply = client.send("tools/list", json!({})).await?;
    let tools = reply.message["result"]["tools"]
        .as_array()
        .into_iter()
        .flatten();
    let names = tools.filter_map(|tool| tool["name"].as_str());
    let tool = names
        .into_iter()
        .find(|name| name.ends_with("echo"))
        .ok_or("no tool `echo`")?;
    let params = json!({ "name": tool, "arguments": { "text": "x".repeat(100) } });
    for load in LOADS {
        client.pipelined(&params, load, calls.div_ceil(10)).await?;
        let before = process.usage();
        let begun = Instant::now();
        let times = client.pipelined(&params, load, calls).await?;
        add(
            "stdio",
            load,
            figures(times, begun.elapsed(), process, before.processor),
        );
    }
    Ok(())
}

fn figures(
    mut times: Vec<Duration>,
    elapsed: Duration,
    process: Process,
    before: Duration,
) -> Figures {
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let usage = process.usage();
    Figures {
        median: percentile(&mut times, 50),
        tail: percentile(&mut times, 99),
        per_second: f64::from(count) / elapsed.as_secs_f64(),
        processor: usage.processor.saturating_sub(before) / count,
        resident: usage.resident,
    }
}

/// The nearest rank.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}

fn print(kinds: &[Kind], table: &Table) {
    let columns = [
        "Front",
        "In flight",
        "Proxy",
        "p50",
        "p99",
        "Calls a second",
        "CPU a call",
    ];
    println!("| {} | Memory | ours / it |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len() + 2));
    let ours = kinds.iter().position(|&kind| kind == Kind::Toolbooth);
    for ((front, load, index), rounds) in table {
        let show = |figure: fn(&Figures) -> Duration| {
            let median = median(rounds.iter().map(figure)).unwrap_or_default();
            format!("{:.0} µs", median.as_secs_f64() * 1e6)
        };
        // In each round both ran within seconds: the ratios of the rounds vary less than times.
        let ratio =
            ours.and_then(|ours| table.get(&(*front, *load, ours)))
                .and_then(|ours| {
                    median(ours.iter().zip(rounds).map(|(ours, other)| {
                        ours.median.as_secs_f64() / other.median.as_secs_f64()
                    }))
                });
        println!(
            "| {front} | {load} | {} | {} | {} | {:.0} | {} | {} MiB | {} |",
            kinds[*index].name(),
            show(|figures| figures.median),
            show(|figures| figures.tail),
            median(rounds.iter().map(|figures| figures.per_second)).unwrap_or_default(),
            show(|figures| figures.processor),
            median(rounds.iter().map(|figures| figures.resident)).unwrap_or_default() >> 20,
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        );
    }
}
