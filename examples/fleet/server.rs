//! The Redis server of the example.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use toolbooth::BoxError;

/// A server on a socket in a directory of its own. Dropping it kills it.
pub(crate) struct Server {
    dir: PathBuf,
    child: Child,
    /// The server ends if it cannot write.
    _output: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start() -> Result<Self, BoxError> {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let dir = std::env::temp_dir().join(format!("toolbooth-fleet-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--unixsocket", "socket"])
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| match error.kind() {
            ErrorKind::NotFound => BoxError::from(format!(
                "there is no {program}: install the Debian package redis-server, or set \
                 REDIS_SERVER to the program of a server"
            )),
            _ => error.into(),
        })?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        while !line.contains("eady to accept connections") {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                return Err("the server ended".into());
            }
        }
        Ok(Self {
            dir,
            child,
            _output: output,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.dir.join("socket").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
