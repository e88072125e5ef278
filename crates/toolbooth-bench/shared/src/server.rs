//! The server of one measurement, on a unix socket, and what it counts.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Error;

/// Dropping it ends the server.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
}

/// What a server has executed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Executed {
    /// Scripts.
    pub(crate) scripts: f64,
    /// Commands, those of scripts included.
    pub(crate) commands: f64,
    /// The microseconds of the scripts.
    pub(crate) micros: f64,
}

/// Connects as each peer that sends commands itself.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection, Error> {
    let client = redis::Client::open(url)?;
    Ok(client.get_multiplexed_async_connection().await?)
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Result<Self, Error> {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let folder = tempfile::tempdir()?;
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--loglevel", "warning", "--logfile", "log"])
            .arg("--unixsocket")
            .arg(folder.path().join("socket"))
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let server = Self { child, folder };
        for _ in 0..500 {
            if connect(&server.url()).await.is_ok() {
                return Ok(server);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("{} does not respond", program.display()).into())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the URL as toolbooth and this program's crate of redis read it.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) async fn version(&self) -> Result<String, Error> {
        let info = self.info("server").await?;
        let line = |name| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name))
        };
        match (line("valkey_version:"), line("redis_version:")) {
            (Some(version), _) => Ok(format!("Valkey {version}")),
            (None, Some(version)) => Ok(format!("Redis {version}")),
            (None, None) => Err("the server states no version".into()),
        }
    }

    /// Returns what the server has executed since its start.
    pub(crate) async fn executed(&self) -> Result<Executed, Error> {
        let mut executed = Executed::default();
        for line in self.info("commandstats").await?.lines() {
            let Some((name, values)) = line.split_once(':') else {
                continue;
            };
            let value = |name: &str| {
                let mut values = values.split(',');
                let value = values.find_map(|value| value.strip_prefix(name)?.strip_prefix('='));
                value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
            };
            match name {
                // Those of this program, once before and once after each round.
                "cmdstat_info" | "cmdstat_hello" | "cmdstat_client|setinfo" => continue,
                "cmdstat_eval" | "cmdstat_evalsha" => {
                    executed.scripts += value("calls");
                    executed.micros += value("usec");
                }
                _ => executed.commands += value("calls"),
            }
        }
        executed.commands += executed.scripts;
        Ok(executed)
    }

    async fn info(&self, section: &str) -> Result<String, Error> {
        let mut connection = connect(&self.url()).await?;
        Ok(redis::cmd("INFO")
            .arg(section)
            .query_async(&mut connection)
            .await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
