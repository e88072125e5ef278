//! Clients and upstreams that are killed in a call.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{PATIENCE, millis};
use crate::Error;
use crate::client::{Endpoint, Generation, Http, Pipes, Reply};
use crate::contender::{Front, Kind, Limits, Places, Running};
use crate::watch::{Log, Moment};

/// Kills a client process in a call of a minute.
pub async fn client_over_http(running: &Running, generation: Generation) -> Result<String, Error> {
    let call = running.call(
        "slow",
        &json!({ "millis": 60_000, "every": 0, "id": "killed" }),
    );
    let stateless = generation == Generation::Stateless;
    let arguments = [
        "client".to_owned(),
        running.endpoint.port.to_string(),
        running.endpoint.path.to_owned(),
        stateless.to_string(),
        call.to_string(),
    ];
    killed_client(&arguments, &running.log).await
}

pub async fn client_over_pipes(
    kind: Kind,
    places: &Places,
    limits: &Limits,
) -> Result<String, Error> {
    let name = kind.name().replace(' ', "_");
    let file = places.work.join(format!("{name}.killed_pipes.log"));
    drop(std::fs::remove_file(&file));
    let Some(command) = kind.command(places, Front::Stdio, limits, &file)? else {
        return Ok("no stdio front".to_owned());
    };
    let call = json!({ "millis": 60_000, "every": 0, "id": "killed" });
    let mut arguments = vec!["client".to_owned(), "stdio".to_owned(), call.to_string()];
    arguments.extend(command);
    let log = Log::new(file);
    let cell = killed_client(&arguments, &log).await;
    for process in log.processes() {
        process.kill();
    }
    cell
}

async fn killed_client(arguments: &[String], log: &Log) -> Result<String, Error> {
    let mut client = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let started = log.wait(PATIENCE, |entry| entry.event == "started").await;
    if let Err(error) = started {
        let mut text = String::new();
        client.kill().await?;
        if let Some(mut errors) = client.stderr.take() {
            errors.read_to_string(&mut text).await?;
        }
        let is_unknown = text.contains("\"error\"") || text.contains("400");
        return match is_unknown {
            true => Ok("protocol not offered".to_owned()),
            false => Err(format!("{error}: {}", text.trim()).into()),
        };
    }
    let begun = Moment::now();
    client.kill().await?;
    let limit = Duration::from_secs(30);
    Ok(match log.notified(begun, "killed", limit).await {
        Some(after) => millis(after),
        None => format!("not in {} s", limit.as_secs()),
    })
}

/// The client that is killed: makes one call and waits for its outcome.
pub async fn client(arguments: &[String]) -> Result<(), Error> {
    match arguments {
        [front, call, command @ ..] if front == "stdio" => {
            let mut client = Pipes::start(command, std::fs::File::create("/dev/null")?).await?;
            let reply = client.send("tools/list", json!({})).await?;
            let tools = reply.message["result"]["tools"]
                .as_array()
                .into_iter()
                .flatten();
            let mut names = tools.filter_map(|tool| tool["name"].as_str());
            let name = names
                .find(|name| name.ends_with("slow"))
                .ok_or("no tool `slow`")?;
            let arguments: Value = serde_json::from_str(call)?;
            client
                .send(
                    "tools/call",
                    json!({ "name": name, "arguments": arguments }),
                )
                .await?;
        }
        [port, path, stateless, call] => {
            let path = if path == "/" { "/" } else { "/mcp" };
            let endpoint = Endpoint {
                port: port.parse()?,
                path,
                token: None,
            };
            let stateless = stateless == "true";
            let generation = if stateless {
                Generation::Stateless
            } else {
                Generation::Session
            };
            let mut client = Http::connect(endpoint, generation).await?;
            let reply = client
                .send("tools/call", serde_json::from_str(call)?)
                .await?;
            eprintln!("{}", reply.message);
        }
        _ => return Err("wrong arguments".into()),
    }
    Ok(())
}

/// Ten calls of a minute, whose upstream is killed; the calls then, as soon as each has an outcome.
async fn ten_killed(running: &Running) -> Result<(Instant, JoinSet<Result<Reply, Error>>), Error> {
    let mut tasks = JoinSet::new();
    for index in 0..10 {
        let mut client = running.client(Generation::Session).await?;
        let id = format!("killed{index}");
        let call = running.call("slow", &json!({ "millis": 60_000, "every": 0, "id": id }));
        tasks.spawn(async move { client.send("tools/call", call).await });
        running
            .log
            .wait(PATIENCE, |entry| entry.event == "started" && entry.id == id)
            .await?;
    }
    for process in running.log.processes() {
        process.kill();
    }
    Ok((Instant::now(), tasks))
}

pub async fn upstream(running: &Running) -> Result<String, Error> {
    let (begun, mut tasks) = ten_killed(running).await?;
    let mut results = 0;
    let mut broken = 0;
    loop {
        let rest = PATIENCE.saturating_sub(begun.elapsed());
        match timeout(rest, tasks.join_next()).await {
            Ok(Some(Ok(Ok(_)))) => results += 1,
            Ok(Some(_)) => broken += 1,
            Ok(None) => break,
            Err(_) => {
                let missing = tasks.len();
                return Ok(format!("{missing} without one in {} s", PATIENCE.as_secs()));
            }
        }
    }
    let after = millis(begun.elapsed());
    Ok(match broken {
        0 => format!("{after}, {results} errors"),
        _ => format!("{after}, {results} errors, {broken} broken connections"),
    })
}

pub async fn recovery(running: &Running) -> Result<String, Error> {
    let (begun, tasks) = ten_killed(running).await?;
    let mut client = running.client(Generation::Session).await;
    let call = running.call("echo", &json!({ "text": "again" }));
    while begun.elapsed() < PATIENCE {
        if let Ok(client) = &mut client {
            let reply = timeout(PATIENCE, client.send("tools/call", call.clone())).await;
            if reply.is_ok_and(|reply| reply.is_ok_and(|reply| reply.ok())) {
                drop(tasks);
                return Ok(millis(begun.elapsed()));
            }
        }
        sleep(Duration::from_millis(20)).await;
        client = running.client(Generation::Session).await;
    }
    Ok(format!("not in {} s", PATIENCE.as_secs()))
}
