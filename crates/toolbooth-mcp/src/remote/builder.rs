use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use toolbooth_core::Name;

use super::server::RemoteServer;
use super::{RemoteError, http as endpoint};

/// The default of [`RemoteServerBuilder::with_connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The defaults of [`RemoteServerBuilder::with_backoff`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Builds a [`RemoteServer`]. Made by [`RemoteServer::stdio`] and [`RemoteServer::http`].
#[must_use = "a builder does nothing until `connect`"]
pub struct RemoteServerBuilder {
    settings: Settings,
    /// The first setting that cannot work.
    fault: Option<String>,
}

/// The settings of a remote server.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) name: Name,
    pub(super) endpoint: Endpoint,
    pub(super) prefix: String,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) min_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) trusts_annotations: bool,
}

/// How the server is reached.
#[derive(Clone)]
pub(super) enum Endpoint {
    Stdio(Program),
    Http(HttpEndpoint),
}

/// A program that is a server over its standard input and output.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) inherited_env: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) current_dir: Option<PathBuf>,
}

/// A server over streamable HTTP. Its headers and its token are secret.
#[derive(Clone)]
pub(super) struct HttpEndpoint {
    pub(super) url: Arc<str>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) bearer: Option<String>,
}

// === impl Settings ===

impl Settings {
    pub(super) const fn is_program(&self) -> bool {
        matches!(self.endpoint, Endpoint::Stdio(_))
    }
}

// === impl RemoteServerBuilder ===

impl RemoteServerBuilder {
    pub(super) fn stdio(program: OsString) -> Self {
        let name = Path::new(&program).file_name().unwrap_or(&program);
        let name = name.to_string_lossy().into_owned();
        Self::new(
            name,
            Endpoint::Stdio(Program {
                program,
                args: Vec::new(),
                inherited_env: Vec::new(),
                env: Vec::new(),
                current_dir: None,
            }),
        )
    }

    pub(super) fn http(url: String) -> Self {
        let name = endpoint::host_of(&url).unwrap_or("http").to_owned();
        Self::new(
            name,
            Endpoint::Http(HttpEndpoint {
                url: url.into(),
                headers: Vec::new(),
                bearer: None,
            }),
        )
    }

    fn new(name: String, endpoint: Endpoint) -> Self {
        Self {
            settings: Settings {
                name: name.into(),
                endpoint,
                prefix: String::new(),
                idle_timeout: None,
                connect_timeout: CONNECT_TIMEOUT,
                min_backoff: MIN_BACKOFF,
                max_backoff: MAX_BACKOFF,
                trusts_annotations: false,
            },
            fault: None,
        }
    }

    /// Adds an argument of the program.
    pub fn with_arg(self, arg: impl Into<OsString>) -> Self {
        let arg = arg.into();
        self.with_program("an argument", |program| program.args.push(arg))
    }

    /// Adds arguments of the program.
    pub fn with_args(self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let args = args.into_iter().map(Into::into);
        self.with_program("an argument", |program| program.args.extend(args))
    }

    /// Passes variables of this process to the program.
    ///
    /// It has `HOME`, `LOGNAME`, `PATH`, `SHELL`, `TERM` and `USER`, as with the official SDKs, and
    /// `LANG`, `LC_ALL`, `LC_CTYPE`, `TMPDIR`, `TZ` and `XDG_RUNTIME_DIR`. Others may be secret,
    /// and are not passed by default. Without a locale, `LANG` is one with UTF-8.
    pub fn with_inherited_env(self, names: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let names = names.into_iter().map(Into::into);
        self.with_program("a variable", |program| program.inherited_env.extend(names))
    }

    /// Sets a variable of the program's environment, in place of an inherited one.
    pub fn with_env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = (name.into(), value.into());
        self.with_program("a variable", |program| program.env.push(variable))
    }

    /// Sets the folder in which the program is started. By default it is that of this process.
    pub fn with_current_dir(self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.with_program("a folder", |program| program.current_dir = Some(folder))
    }

    /// Adds a header to each HTTP request. Its value is secret: no log and no error has it.
    ///
    /// A header that the transport sets itself, such as `Mcp-Session-Id` or `Accept`, is a fault of
    /// [`connect`](Self::connect).
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let header = HeaderName::try_from(name).ok().zip({
            let value = HeaderValue::try_from(value).ok();
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        match header {
            Some((name, _)) if endpoint::is_reserved(&name) => {
                self.fault(format!("the transport sets the header `{name}` itself"));
                self
            }
            Some(header) => self.with_endpoint("a header", |http| http.headers.push(header)),
            None => {
                self.fault(format!(
                    "`{}` and its value are not a header",
                    name.escape_debug()
                ));
                self
            }
        }
    }

    /// Sets a token that each HTTP request has as `Authorization: Bearer`. It is secret: no log and
    /// no error has it.
    pub fn with_bearer(mut self, token: impl Into<String>) -> Self {
        let token = token.into();
        if HeaderValue::try_from(&token).is_err() || token.is_empty() {
            self.fault("the bearer token is empty, or has control characters".to_owned());
            return self;
        }
        self.with_endpoint("a bearer token", |http| http.bearer = Some(token))
    }

    /// Sets the name of the server in errors and logs. By default it is that of the program, or the
    /// host of the URL.
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets a prefix of the names of the tools, such as `github_`. By default there is none.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Limits the time in which a call receives nothing: no progress and no response. By default
    /// there is no limit.
    ///
    /// A call over the limit fails with a timeout of the scope `idle`. Progress never extends the
    /// deadline of a call or the limit of an outer layer on the whole call.
    pub fn with_idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = (limit != Duration::MAX).then_some(limit);
        self
    }

    /// Limits the time in which a connection is set up: the start of the program, the handshake,
    /// and the list of tools. By default it is 30 s.
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// Sets the waits between attempts to connect, by default from 500 ms to 30 s.
    ///
    /// The first attempt after a connection was lost is made at once. After an attempt that failed,
    /// or a connection that lasted for less than 10 s, the wait is `min`, then doubled up to `max`.
    /// A random part of each wait, up to one half, is left out.
    pub fn with_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.settings.min_backoff = min;
        self.settings.max_backoff = max.max(min);
        self
    }

    /// Sets whether the annotations of the tools are trusted: by default they are not.
    ///
    /// Clients see the annotations in any case. Only trusted ones count: for a retry policy that
    /// repeats calls of idempotent and read-only tools, and for gates that read them.
    pub fn with_trust_annotations(mut self, trusts: bool) -> Self {
        self.settings.trusts_annotations = trusts;
        self
    }

    /// Connects to the server and reads the list of its tools.
    ///
    /// Later, the connection is set up again when a call needs it.
    ///
    /// # Errors
    /// A setting that cannot work, or the first attempt to connect failed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt, and the program if it had started.
    pub async fn connect(self) -> Result<RemoteServer, RemoteError> {
        if let Some(fault) = self.fault {
            return Err(RemoteError::Setting {
                server: self.settings.name,
                message: fault.into(),
            });
        }
        RemoteServer::connect(self.settings).await
    }

    fn fault(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn with_program(mut self, what: &str, change: impl FnOnce(&mut Program)) -> Self {
        match &mut self.settings.endpoint {
            Endpoint::Stdio(program) => change(program),
            Endpoint::Http(_) => self.fault(format!("{what} is for a server that is a program")),
        }
        self
    }

    fn with_endpoint(mut self, what: &str, change: impl FnOnce(&mut HttpEndpoint)) -> Self {
        match &mut self.settings.endpoint {
            Endpoint::Http(http) => change(http),
            Endpoint::Stdio(_) => self.fault(format!("{what} is for a server over HTTP")),
        }
        self
    }
}

/// Shows no arguments, variables, headers or tokens: they may be secret.
impl fmt::Debug for RemoteServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServerBuilder")
            .field("name", &self.settings.name)
            .field("prefix", &self.settings.prefix)
            .finish_non_exhaustive()
    }
}
