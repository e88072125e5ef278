//! Measures the gateway beside other proxies of MCP servers: `measure behaviour|overhead [NAME...]`
//! and the places of the programs in the environment, as the script `run` sets them.

mod behaviour;
mod client;
mod contender;
mod overhead;
mod watch;

use std::path::PathBuf;

use contender::{Kind, Places};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn place(name: &str) -> Result<PathBuf, Error> {
    Ok(std::env::var_os(name)
        .ok_or_else(|| format!("${name} is not set"))?
        .into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, names) = arguments
        .split_first()
        .ok_or("usage: measure WHAT [NAME...]")?;
    if what == "client" {
        return behaviour::client(names).await;
    }
    let places = Places {
        peers: place("PEERS")?,
        toolbooth: place("TOOLBOOTH")?,
        own: std::env::current_exe()?
            .parent()
            .ok_or("the program is in no folder")?
            .into(),
        scripts: place("SCRIPTS")?,
        work: place("WORK")?,
    };
    std::fs::create_dir_all(&places.work)?;
    let chosen = |kind: &Kind| names.is_empty() || names.iter().any(|name| name == kind.name());
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(chosen).collect();
    println!("{}\n", versions(&kinds, &places));
    match what.as_str() {
        "behaviour" => behaviour::measure(&kinds, &places).await,
        "overhead" => overhead::measure(&kinds, &places, 3, 2_000).await,
        // Few calls and one round: shows that everything is installed and starts.
        "check" => overhead::measure(&kinds, &places, 1, 20).await,
        _ => Err(format!("unknown: {what}").into()),
    }
}

fn versions(kinds: &[Kind], places: &Places) -> String {
    let version = |kind: &Kind| format!("{} {}", kind.name(), kind.version(places));
    kinds.iter().map(version).collect::<Vec<_>>().join(", ")
}
