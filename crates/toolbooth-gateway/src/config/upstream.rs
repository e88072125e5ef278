use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toolbooth::policy::{PolicyError, Setting};

use super::Secret;
use super::file::Reader;
use super::part::CommandLine;
use super::secret::Template;

/// An MCP server whose tools are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstream {
    /// How it is reached.
    pub transport: Transport,
    /// What the names of its tools begin with. With several servers, none is a start of another.
    pub prefix: String,
    /// Whether its annotations decide which calls are repeated: false by default.
    pub trust_annotations: bool,
    /// How long a connection may take, up to the list of tools: 30 s by default.
    pub connect_timeout: Duration,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A program that speaks over its standard input and output.
    #[non_exhaustive]
    Stdio {
        /// The program.
        program: String,
        /// Its arguments.
        args: Vec<Secret>,
        /// The variables that are set for it.
        env: BTreeMap<String, Secret>,
        /// The variables of this process that it has, beside those without secrets such as `PATH`
        /// and `HOME`. `None`: all.
        inherit_env: Option<Vec<String>>,
        /// Its working directory: by default that of this process.
        current_dir: Option<PathBuf>,
    },
    /// An address of streamable HTTP.
    #[non_exhaustive]
    Http {
        /// The address, which may have a secret.
        url: Secret,
        /// The bearer token.
        bearer: Option<Secret>,
        /// Further headers.
        headers: BTreeMap<String, Secret>,
    },
}

/// The table of an upstream in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of a server")]
pub(super) struct UpstreamTable {
    command: Option<CommandLine<Template>>,
    env: Option<BTreeMap<String, Template>>,
    inherit_env: Option<Vec<String>>,
    current_dir: Option<PathBuf>,
    url: Option<Template>,
    bearer: Option<Template>,
    headers: Option<BTreeMap<String, Template>>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    trust_annotations: bool,
    #[serde(default)]
    connect_timeout: Setting<Duration>,
}

/// The time that a connection may take by default.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

// === impl UpstreamTable ===

impl UpstreamTable {
    pub(super) fn read(self, reader: &Reader<'_>, keys: &[&str]) -> Result<Upstream, PolicyError> {
        let given = &self.connect_timeout;
        let connect_timeout = reader.duration(keys, "connect_timeout", given, CONNECT_TIMEOUT)?;
        let (prefix, trust_annotations) = (self.prefix.clone(), self.trust_annotations);
        let transport = match (&self.command, &self.url) {
            (Some(command), None) => self.stdio(&command.0, reader, keys)?,
            (None, Some(url)) => self.http(url, reader, keys)?,
            (Some(_), Some(_)) => {
                let message = "a server has either a `command` or a `url`";
                return Err(reader.fault(keys, "url", message));
            }
            (None, None) => {
                let message = "a server has a `command` such as [\"npx\", \"-y\", \"a-server\"], \
                     or a `url` such as \"https://example.com/mcp\"";
                return Err(reader.fault(keys, "command", message));
            }
        };
        Ok(Upstream {
            transport,
            prefix,
            trust_annotations,
            connect_timeout,
        })
    }

    fn stdio(
        &self,
        command: &[Template],
        reader: &Reader<'_>,
        keys: &[&str],
    ) -> Result<Transport, PolicyError> {
        for (key, is_given) in [
            ("bearer", self.bearer.is_some()),
            ("headers", self.headers.is_some()),
        ] {
            if is_given {
                return Err(reader.fault(keys, key, "only a server with a `url` has it"));
            }
        }
        let mut parts = Vec::new();
        for (index, text) in command.iter().enumerate() {
            parts.push(reader.element(keys, "command", index, text, |value| value)?);
        }
        let mut parts = parts.into_iter();
        let program = parts.next().filter(|program| !program.is_empty());
        let program =
            program.ok_or_else(|| reader.fault(keys, "command", "it begins with a program"))?;
        let env = self.env.as_ref().map(|env| reader.table(keys, "env", env));
        Ok(Transport::Stdio {
            program,
            args: parts.map(Secret::new).collect(),
            env: env.transpose()?.unwrap_or_default(),
            inherit_env: Some(self.inherit_env.clone().unwrap_or_default()),
            current_dir: self.current_dir.clone(),
        })
    }

    fn http(
        &self,
        url: &Template,
        reader: &Reader<'_>,
        keys: &[&str],
    ) -> Result<Transport, PolicyError> {
        let of_command = [
            ("env", self.env.is_some()),
            ("inherit_env", self.inherit_env.is_some()),
            ("current_dir", self.current_dir.is_some()),
        ];
        for (key, is_given) in of_command {
            if is_given {
                return Err(reader.fault(keys, key, "only a server with a `command` has it"));
            }
        }
        let url = reader.text(keys, "url", url)?;
        let parsed: Option<http::Uri> = url.expose().parse().ok();
        let is_http = |uri: http::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        };
        if !parsed.is_some_and(is_http) {
            let message = "an address such as \"https://example.com/mcp\" is expected";
            return Err(reader.fault(keys, "url", message));
        }
        let bearer = self.bearer.as_ref();
        let bearer = bearer
            .map(|bearer| reader.text(keys, "bearer", bearer))
            .transpose()?;
        if bearer
            .as_ref()
            .is_some_and(|bearer| !is_header_value(bearer))
        {
            let message = "a token is not empty, and has visible characters only";
            return Err(reader.fault(keys, "bearer", message));
        }
        let headers = self.headers.as_ref();
        let headers = headers.map(|headers| reader.table(keys, "headers", headers));
        let headers = headers.transpose()?.unwrap_or_default();
        for (name, value) in &headers {
            let is_valid = name.parse::<http::HeaderName>().is_ok() && is_header_value(value);
            if !is_valid {
                let message = "this cannot be a header of a request";
                return Err(reader.fault_in(keys, "headers", name, message));
            }
        }
        Ok(Transport::Http {
            url,
            bearer,
            headers,
        })
    }
}

fn is_header_value(text: &Secret) -> bool {
    !text.expose().is_empty() && http::HeaderValue::from_str(text.expose()).is_ok()
}

// === impl Transport ===

impl Transport {
    /// Returns what it is, without a secret: the program, or the address without its path.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Stdio { program, args, .. } => match args.len() {
                0 => program.clone(),
                1 => format!("{program}, 1 argument"),
                args => format!("{program}, {args} arguments"),
            },
            Self::Http { url, .. } => origin(url.expose()),
        }
    }
}

/// Returns the scheme and the host.
fn origin(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let parts = uri
        .as_ref()
        .and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16())));
    match parts {
        Some((scheme, host, Some(port))) => format!("{scheme}://{host}:{port}"),
        Some((scheme, host, None)) => format!("{scheme}://{host}"),
        None => "an address".to_owned(),
    }
}
