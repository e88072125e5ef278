//! A server of a test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// A server on a socket in a directory of its own, without persistence. Dropping it kills it.
pub(crate) struct Server {
    dir: TempDir,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut server = Self::stopped();
        server.run();
        server
    }

    pub(crate) fn stopped() -> Self {
        Self {
            dir: TempDir::new().expect("a directory"),
            running: None,
        }
    }

    /// Starts the server, and waits until it accepts connections.
    pub(crate) fn run(&mut self) {
        let program = std::env::var("TOOLBOOTH_TEST_SERVER")
            .expect("TOOLBOOTH_TEST_SERVER: run these tests by tests/shared/run");
        let mut child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program of the server");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("eady to accept connections") {
            line.clear();
            let read = output.read_line(&mut line).expect("lines");
            assert_ne!(read, 0, "the server ended");
        }
        self.running = Some((child, output));
    }

    /// Kills the server at once.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().expect("a running server");
            child.wait().expect("its end");
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let (child, _) = self.running.as_ref().expect("a running server");
        let kill = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(child.id().to_string())
            .status();
        assert!(kill.expect("kill").success());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A connection for everything else.
    pub(crate) fn admin(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a client");
        client.get_connection().expect("a connection")
    }

    pub(crate) fn command<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().expect("a command"));
        cmd.arg(words.collect::<Vec<_>>());
        cmd.query(&mut self.admin()).expect("a reply")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
