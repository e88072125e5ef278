//! What happens when a client, a tool or the upstream misbehaves.

mod killed;

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;
use crate::client::Generation;
use crate::contender::{ALICE, BOB, Kind, Limits, Places, Running};
use crate::overhead::percentile;
use crate::watch::Moment;

pub use self::killed::client;

/// How long an outcome is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// A case: its title, and what is measured.
const CASES: [(&str, Case); 10] = [
    (
        "client over HTTP (2025-11-25) killed: the upstream is notified after",
        Case::KilledSession,
    ),
    (
        "client over HTTP (2026-07-28) killed: the upstream is notified after",
        Case::KilledStateless,
    ),
    (
        "client over stdio killed: the upstream is notified after",
        Case::KilledPipes,
    ),
    ("hung tool, limit 2 s: outcome", Case::Hung),
    ("silent for 3 s, idle limit 1 s: outcome", Case::Silent),
    ("progress for 3 s, idle limit 1 s: outcome", Case::Active),
    (
        "64 calls of one tenant in flight, calls of 10 ms: p50, p99 of another's",
        Case::Flood,
    ),
    (
        "upstream killed with 10 calls: outcome of all after",
        Case::UpstreamKilled,
    ),
    ("the same: the next call succeeds after", Case::Recovery),
    (
        "hung tool with 6 messages until the limit: messages in the result",
        Case::Partial,
    ),
];

#[derive(Clone, Copy, Debug)]
enum Case {
    KilledSession,
    KilledStateless,
    KilledPipes,
    Hung,
    Silent,
    Active,
    Flood,
    UpstreamKilled,
    Recovery,
    Partial,
}

/// Measures all contenders and prints a table: a row for each case.
pub async fn measure(kinds: &[Kind], places: &Places) -> Result<(), Error> {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    println!(
        "| Case | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(kinds.len())
    );
    for (title, case) in CASES {
        let mut cells = Vec::new();
        for &kind in kinds {
            let cell = case.run(kind, places).await;
            cells.push(cell.unwrap_or_else(|error| short(&format!("fails: {error}"))));
        }
        println!("| {title} | {} |", cells.join(" | "));
    }
    Ok(())
}

impl Case {
    async fn run(self, kind: Kind, places: &Places) -> Result<String, Error> {
        let limits = self.limits();
        if let Self::KilledPipes = self {
            return killed::client_over_pipes(kind, places, &limits).await;
        }
        let running = Running::start(kind, places, &limits, &format!("{self:?}")).await?;
        let cell = match self {
            Self::KilledSession => killed::client_over_http(&running, Generation::Session).await,
            Self::KilledStateless => {
                killed::client_over_http(&running, Generation::Stateless).await
            }
            Self::KilledPipes | Self::Hung => outcome(&running, 30_000, 0).await,
            Self::Silent => outcome(&running, 3_000, 0).await,
            Self::Active => outcome(&running, 3_000, 200).await,
            Self::Flood => flood(&running).await,
            Self::UpstreamKilled => killed::upstream(&running).await,
            Self::Recovery => killed::recovery(&running).await,
            Self::Partial => partial(&running).await,
        };
        running.stop().await;
        cell
    }

    fn limits(self) -> Limits {
        let mut limits = Limits::wide();
        match self {
            Self::Hung | Self::Partial => limits.total = Duration::from_secs(2),
            Self::Silent | Self::Active => {
                limits.idle = Some(Duration::from_secs(1));
                limits.total = PATIENCE;
            }
            Self::Flood => {
                limits.tenants = true;
                limits.concurrency = 1;
            }
            _ => {}
        }
        limits
    }
}

/// One call of `slow`: its outcome and the time until then, and whether the upstream was notified.
async fn outcome(running: &Running, takes: u64, every: u64) -> Result<String, Error> {
    let mut client = running.client(Generation::Session).await?;
    let mut call = running.call(
        "slow",
        &json!({ "millis": takes, "every": every, "id": "slow" }),
    );
    call["_meta"] = json!({ "progressToken": "token" });
    let begun = Instant::now();
    let Ok(reply) = timeout(
        PATIENCE + Duration::from_secs(2),
        client.send("tools/call", call),
    )
    .await
    else {
        return Ok(format!(
            "none in {} s",
            (PATIENCE + Duration::from_secs(2)).as_secs()
        ));
    };
    let now = Moment::now();
    let after = millis(begun.elapsed());
    let progress = reply.as_ref().map_or(0, |reply| reply.progress);
    let mut cell = match &reply {
        Ok(reply) if reply.ok() => format!("result after {after}"),
        Ok(_) => format!("error after {after}"),
        Err(error) => format!("{error} after {after}"),
    };
    if every > 0 {
        cell.push_str(&format!(", {progress} of {} messages", takes / every));
    }
    if !reply.is_ok_and(|reply| reply.ok()) {
        let notified = running
            .log
            .notified(now, "slow", Duration::from_secs(3))
            .await;
        cell.push_str(if notified.is_some() {
            ", cancelled"
        } else {
            ", the tool runs on"
        });
    }
    Ok(cell)
}

/// 64 clients of one tenant call in a loop, one client of another calls one after the other.
async fn flood(running: &Running) -> Result<String, Error> {
    let call = running.call("work", &json!({ "millis": 10, "id": "work" }));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let mut client = running.client_of(ALICE).await?;
        let call = call.clone();
        tasks.spawn(async move {
            loop {
                if let Err(error) = client.send("tools/call", call.clone()).await {
                    return error;
                }
            }
        });
    }
    let mut client = running.client_of(BOB).await?;
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < PATIENCE {
        let at = Instant::now();
        let reply = client.send("tools/call", call.clone()).await?;
        if !reply.ok() {
            return Err(reply.text().into());
        }
        times.push(at.elapsed());
    }
    tasks.abort_all();
    let median = percentile(&mut times, 50);
    Ok(format!(
        "{}, {}",
        millis(median),
        millis(percentile(&mut times, 99))
    ))
}

async fn partial(running: &Running) -> Result<String, Error> {
    let mut client = running.client(Generation::Session).await?;
    let mut call = running.call(
        "slow",
        &json!({ "millis": 30_000, "every": 300, "id": "slow" }),
    );
    call["_meta"] = json!({ "progressToken": "token" });
    let Ok(reply) = timeout(PATIENCE, client.send("tools/call", call)).await else {
        return Ok(format!("no outcome in {} s", PATIENCE.as_secs()));
    };
    let reply = reply?;
    let kept = reply.text().matches("step ").count();
    Ok(format!("{kept} of 6, {} as progress", reply.progress))
}

fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

fn short(text: &str) -> String {
    text.replace(['|', '\n'], " ").chars().take(120).collect()
}
