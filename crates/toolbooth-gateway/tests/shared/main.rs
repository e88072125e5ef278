//! Gateways that share limits on a real server.
//!
//! `tests/shared/run` runs these tests, and sets `TOOLBOOTH_TEST_SERVER` to the program of the
//! server.

#[expect(dead_code, reason = "the tests of one program use more of it")]
#[path = "../serve/support.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::{Folder, Program};

/// A server on a socket, which is killed with its value.
struct Server(Child);

// === impl Server ===

impl Server {
    fn start(socket: &Path) -> Self {
        let program = std::env::var("TOOLBOOTH_TEST_SERVER")
            .expect("TOOLBOOTH_TEST_SERVER: run these tests by tests/shared/run");
        let mut child = Command::new(program)
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(socket)
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
        // Keeps its output open.
        std::thread::spawn(move || output.lines().count());
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A tool that fails if it runs twice at once, on any gateway.
fn booth(folder: &Folder, limits: &str) -> String {
    let lock = folder.path("lock");
    let socket = folder.path("socket");
    format!(
        "[tools.alone]
command = ['sh', '-c', 'mkdir {lock} && sleep 0.1 && rmdir {lock}']
[policies.tools.alone]
concurrency = 1
[limits]
url = 'unix://{socket}'
{limits}
",
        lock = lock.display(),
        socket = socket.display(),
    )
}

#[tokio::test]
async fn gateways_share_the_limit_of_a_tool() {
    let folder = Folder::new();
    let _server = Server::start(&folder.path("socket"));
    let toml = booth(&folder, "");
    let (one, other) = (Program::start(&toml).await, Program::start(&toml).await);
    let none = json!({});
    let calls = [&one, &other].repeat(5);
    let calls = calls
        .into_iter()
        .map(|gateway| gateway.call(None, "alone", &none));
    for (status, response) in futures_util::future::join_all(calls).await {
        assert_eq!(
            (status, &response["meta"]["exit_code"]),
            (200, &json!(0)),
            "{response}"
        );
    }
}

#[tokio::test]
async fn closed_limit_rejects_calls_while_the_server_is_away() {
    let folder = Folder::new();
    let toml = booth(&folder, "when_away = 'closed'");
    let mut program = Program::start(&toml).await;
    program.logged("the store of shared limits is away").await;
    let (status, problem) = program.call(None, "alone", &json!({})).await;
    assert_eq!(
        (status, &problem["kind"]),
        (503, &json!("overloaded")),
        "{problem}"
    );
    let server = Server::start(&folder.path("socket"));
    program
        .logged("the store of shared limits answers again")
        .await;
    let (status, response) = program.call(None, "alone", &json!({})).await;
    assert_eq!(
        (status, &response["meta"]["exit_code"]),
        (200, &json!(0)),
        "{response}"
    );
    drop(server);
}

#[tokio::test]
async fn wrong_url_ends_the_program_without_its_password() {
    let folder = Folder::new();
    let file = folder.write(
        "booth.toml",
        "[tools.greet]\ncommand = ['echo']\n[limits]\nurl = 'redis://user:s3cret@[::1'\n",
    );
    let output = Command::new(support::TOOLBOOTH)
        .arg("run")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("shared limits") && !text.contains("s3cret"),
        "{text}"
    );
}
