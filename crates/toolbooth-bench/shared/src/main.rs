//! Measures what limits cost that are shared by processes, beside peers, and prints Markdown
//! tables: `measure [check] [LINE...]`. A line is `concurrency`, `rate`, `paced` or `network`; all
//! by default.
//!
//! The program starts a server of its own. All contenders run in turns in this process, on one
//! thread, or on as many workers as `$WORKERS` states.

mod bare;
mod concurrency;
mod contender;
mod limits;
mod measure;
mod network;
mod paced;
mod peers;
mod rate;
mod relay;
mod report;
mod server;

use server::Server;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut lines: Vec<String> = std::env::args().skip(1).collect();
    if let [line, socket] = &lines[..]
        && line == relay::ARGUMENT
    {
        return relay::run(socket);
    }
    let few = lines.first().is_some_and(|line| line == "check");
    if few {
        lines.remove(0);
    }
    let workers: usize = match std::env::var("WORKERS") {
        Ok(workers) => workers.parse()?,
        Err(_) => 0,
    };
    let mut runtime = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if workers > 0 {
        runtime.worker_threads(workers);
    }
    runtime.enable_all().build()?.block_on(measure(&lines, few))
}

async fn measure(lines: &[String], few: bool) -> Result<(), Error> {
    let server = Server::start().await?;
    println!("Server: {}\n", server.version().await?);
    let all = ["concurrency", "rate", "paced", "network"].map(str::to_owned);
    let lines = if lines.is_empty() { &all } else { lines };
    for line in lines {
        match line.as_str() {
            "concurrency" => concurrency::measure(&server, few).await?,
            "rate" => rate::measure(&server, few).await?,
            "network" => network::measure(&server, few).await?,
            "paced" => paced::measure(&server, few).await?,
            _ => return Err(format!("unknown: {line}").into()),
        }
    }
    Ok(())
}
