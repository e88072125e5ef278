//! The contenders: how each is started, with which limits.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::client::{Endpoint, Generation, Http};
use crate::watch::{Log, Process};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The upstream alone.
    Direct,
    Toolbooth,
    Relay,
    TowerMcp,
    NpmProxy,
    PypiProxy,
    Fastmcp,
}

/// What clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Stdio,
    Http(u16),
}

/// The limits that a contender is given, as far as it has them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub total: Duration,
    pub idle: Option<Duration>,
    pub concurrency: u32,
    /// Whether there are two tenants with tokens.
    pub tenants: bool,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The npm package and the virtual environments.
    pub peers: PathBuf,
    /// The gateway's program.
    pub toolbooth: PathBuf,
    /// The programs of this package.
    pub own: PathBuf,
    /// The scripts of this package.
    pub scripts: PathBuf,
    /// Logs and settings.
    pub work: PathBuf,
}

/// A contender with an HTTP endpoint that runs.
pub struct Running {
    pub endpoint: Endpoint,
    pub log: Log,
    child: Child,
    prefix: String,
}

/// The tokens of the two tenants, and their SHA-256.
pub const ALICE: &str = "tb_alice_0123456789012345678901234567890123";
pub const BOB: &str = "tb_bob_012345678901234567890123456789012345";

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Toolbooth,
        Self::Relay,
        Self::TowerMcp,
        Self::NpmProxy,
        Self::PypiProxy,
        Self::Fastmcp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Toolbooth => "toolbooth",
            Self::Relay => "rmcp relay",
            Self::TowerMcp => "tower-mcp",
            Self::NpmProxy => "npm mcp-proxy",
            Self::PypiProxy => "PyPI mcp-proxy",
            Self::Fastmcp => "fastmcp",
        }
    }

    /// The path of its endpoint.
    pub fn path(self) -> &'static str {
        if self == Self::TowerMcp { "/" } else { "/mcp" }
    }

    /// Its command line, or `None` if it has no such front.
    pub fn command(
        self,
        places: &Places,
        front: Front,
        limits: &Limits,
        log: &Path,
    ) -> Result<Option<Vec<String>>, Error> {
        let upstream = [text(&places.own.join("upstream")), text(log)];
        let port = match front {
            Front::Stdio => "stdio".to_owned(),
            Front::Http(port) => port.to_string(),
        };
        let millis = limits.total.as_millis().to_string();
        let own = |name: &str| text(&places.own.join(name));
        let mut command = match self {
            Self::Direct => {
                let mut command = upstream.to_vec();
                command.extend((front != Front::Stdio).then_some(port));
                return Ok(Some(command));
            }
            Self::Toolbooth => {
                // Not beside the log of the upstream: the gateway watches the folder of its file.
                let folder = log.with_extension("booth");
                std::fs::create_dir_all(&folder)?;
                let file = folder.join("booth.toml");
                std::fs::write(&file, booth(front, limits, &upstream))?;
                return Ok(Some(vec![
                    text(&places.toolbooth),
                    "run".into(),
                    text(&file),
                ]));
            }
            Self::Relay => vec![own("relay"), port],
            Self::TowerMcp => vec![own("tower_proxy"), port, millis],
            Self::NpmProxy | Self::PypiProxy if front == Front::Stdio => return Ok(None),
            Self::NpmProxy => {
                let program = places
                    .peers
                    .join("node_modules/mcp-proxy/dist/bin/mcp-proxy.mjs");
                let mut command = vec!["node".into(), text(&program)];
                let options = ["--host", "127.0.0.1", "--server", "stream", "--port"];
                command.extend(options.map(str::to_owned));
                command.extend([port, "--requestTimeout".into(), millis, "--".into()]);
                command
            }
            Self::PypiProxy => {
                let program = places.peers.join("mcp-proxy/bin/mcp-proxy");
                let options = ["--log-level", "WARNING", "--port"];
                let mut command = vec![text(&program)];
                command.extend(options.map(str::to_owned));
                command.extend([port, "--".into()]);
                command
            }
            Self::Fastmcp => {
                let python = places.peers.join("fastmcp/bin/python");
                let script = places.scripts.join("fastmcp_proxy.py");
                vec![
                    text(&python),
                    text(&script),
                    port,
                    limits.total.as_secs_f64().to_string(),
                ]
            }
        };
        command.extend(upstream);
        Ok(Some(command))
    }

    /// Its version, as it is installed.
    pub fn version(self, places: &Places) -> String {
        let lock = include_str!("../../Cargo.lock");
        let crate_version = |name: &str| {
            let entry = format!("name = \"{name}\"\nversion = \"");
            let rest = lock.split(&entry).nth(1).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let python = |environment: &str, package: &str| {
            let code = format!("import importlib.metadata as m; print(m.version('{package}'))");
            let python = places.peers.join(environment).join("bin/python");
            let output = std::process::Command::new(python)
                .args(["-c", &code])
                .output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = match self {
            Self::Direct | Self::Relay => crate_version("rmcp"),
            Self::Toolbooth => "this repository".to_owned(),
            Self::TowerMcp => crate_version("tower-mcp"),
            Self::NpmProxy => {
                let file = places.peers.join("node_modules/mcp-proxy/package.json");
                let package = std::fs::read_to_string(file).unwrap_or_default();
                let package: Value = serde_json::from_str(&package).unwrap_or_default();
                package["version"].as_str().unwrap_or_default().to_owned()
            }
            Self::PypiProxy => python("mcp-proxy", "mcp-proxy").unwrap_or_default(),
            Self::Fastmcp => python("fastmcp", "fastmcp").unwrap_or_default(),
        };
        if version.is_empty() {
            "not installed".to_owned()
        } else {
            version
        }
    }
}

/// The gateway's file.
fn booth(front: Front, limits: &Limits, upstream: &[String]) -> String {
    let listen = match front {
        Front::Stdio => "stdio = true".to_owned(),
        Front::Http(port) => format!("stdio = false\nhttp = \"127.0.0.1:{port}\""),
    };
    let idle = limits.idle.map_or_else(String::new, |idle| {
        format!("idle_timeout = \"{}ms\"\n", idle.as_millis())
    });
    let concurrency = match limits.tenants {
        true => "concurrency = 1\nqueue = { order = \"fair\" }".to_owned(),
        false => format!("concurrency = {}", limits.concurrency),
    };
    let tenants = if limits.tenants {
        format!(
            "[tenants.alice]\ntoken_sha256 = \"{}\"\n[tenants.bob]\ntoken_sha256 = \"{}\"\n",
            ALICE_SHA256, BOB_SHA256
        )
    } else {
        String::new()
    };
    format!(
        "[upstreams.upstream]\ncommand = {upstream:?}\n\n\
         [policies.default]\ntimeout = \"{}ms\"\n{idle}{concurrency}\n\n\
         [listen]\n{listen}\n\n{tenants}",
        limits.total.as_millis(),
    )
}

const ALICE_SHA256: &str = "30e3eb60d326f05afd8479c803f54d7e1526ef78aaf0b01cf890f280c2a5f942";
const BOB_SHA256: &str = "9003ec3ba3adc9883cbfe5153eca783e86847af5f4e60d5ddf2fb1e3579a947b";

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

// === impl Limits ===

impl Limits {
    /// Limits that no call of the measurements of cost meets.
    pub fn wide() -> Self {
        let total = Duration::from_secs(60);
        Self {
            total,
            idle: None,
            concurrency: 256,
            tenants: false,
        }
    }
}

// === impl Running ===

impl Running {
    /// Starts a contender and waits until it lists the upstream's tools.
    pub async fn start(
        kind: Kind,
        places: &Places,
        limits: &Limits,
        case: &str,
    ) -> Result<Self, Error> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let name = kind.name().replace(' ', "_");
        let file = places.work.join(format!("{name}.{case}.log"));
        drop(std::fs::remove_file(&file));
        let command = kind
            .command(places, Front::Http(port), limits, &file)?
            .ok_or("it has no HTTP front")?;
        let errors = std::fs::File::create(file.with_extension("err"))?;
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", command[0]))?;
        let token = limits.tenants.then_some(ALICE);
        let endpoint = Endpoint {
            port,
            path: kind.path(),
            token,
        };
        let log = Log::new(file);
        let mut running = Self {
            endpoint,
            log,
            child,
            prefix: String::new(),
        };
        let begun = Instant::now();
        loop {
            match running.tools().await {
                Ok(prefix) => {
                    running.prefix = prefix;
                    return Ok(running);
                }
                Err(error) if begun.elapsed() > Duration::from_secs(30) => {
                    running.stop().await;
                    return Err(format!("{} does not start: {error}", kind.name()).into());
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Returns the prefix of the names of the upstream's tools.
    async fn tools(&self) -> Result<String, Error> {
        let mut client = Http::connect(self.endpoint.clone(), Generation::Session).await?;
        let reply = client.send("tools/list", json!({})).await?;
        let tools = reply.message["result"]["tools"]
            .as_array()
            .into_iter()
            .flatten();
        let echo = tools
            .filter_map(|tool| tool["name"].as_str())
            .find_map(|name| name.strip_suffix("echo").map(str::to_owned));
        Ok(echo.ok_or_else(|| format!("there is no tool `echo`: {}", reply.message))?)
    }

    /// The parameters of a call.
    pub fn call(&self, tool: &str, arguments: &Value) -> Value {
        json!({ "name": format!("{}{tool}", self.prefix), "arguments": arguments })
    }

    pub async fn client(&self, generation: Generation) -> Result<Http, Error> {
        Http::connect(self.endpoint.clone(), generation).await
    }

    pub async fn client_of(&self, token: &'static str) -> Result<Http, Error> {
        let endpoint = Endpoint {
            token: Some(token),
            ..self.endpoint.clone()
        };
        Http::connect(endpoint, Generation::Session).await
    }

    pub fn process(&self) -> Option<Process> {
        self.child.id().map(Process)
    }

    /// Kills the contender and each upstream that it started.
    pub async fn stop(mut self) {
        drop(self.child.kill().await);
        for process in self.log.processes() {
            process.kill();
        }
    }
}
