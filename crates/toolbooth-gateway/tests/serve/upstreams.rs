//! Servers behind the program: other booths.

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::support::{Folder, Program, TOOLBOOTH, call, names, runs, text, with_listeners, within};

const INNER: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
[tools.never]
command = ['sh', '-c', 'echo $$ > never.pid; exec sleep 1000']
";

/// Starts a booth in front of a booth, whose process writes its number to `inner.pid`. Beside it
/// runs a child that ends neither at the end of its input nor by SIGTERM.
async fn start() -> Program {
    let folder = Folder::new();
    folder.write("inner.toml", INNER);
    let outer = format!(
        "[upstreams.inner]\ncommand = ['sh', '-c', '(trap \"\" TERM; exec sleep 1000) & \
         echo $! > child.pid; echo $$ > inner.pid; exec {TOOLBOOTH} run inner.toml']\n"
    );
    let file = folder.write("booth.toml", &with_listeners(&outer));
    Program::start_file(folder, &file).await
}

fn pid(program: &Program, file: &str) -> u32 {
    let text = std::fs::read_to_string(program.folder.path(file)).expect("it has started");
    text.trim().parse().expect("a number")
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a number");
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
}

async fn gone(pid: u32) {
    within(async {
        while runs(pid) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn killed_program_leaves_no_process() {
    let mut program = start().await;
    let client = program.mcp(None).await;
    let running = tokio::spawn(async move { call(&client, "never", json!({})).await });
    within(async {
        while std::fs::read_to_string(program.folder.path("never.pid"))
            .unwrap_or_default()
            .len()
            < 2
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let pids = ["inner.pid", "child.pid", "never.pid"].map(|file| pid(&program, file));
    assert!(pids.into_iter().all(runs));
    program.signal(Signal::KILL);
    program.exit().await;
    for pid in pids {
        gone(pid).await;
    }
    running.abort();
}

#[tokio::test]
async fn programs_of_servers_end_with_the_program() {
    let mut program = start().await;
    let pids = ["inner.pid", "child.pid"].map(|file| pid(&program, file));
    assert!(pids.into_iter().all(runs));
    program.signal(Signal::TERM);
    assert_eq!(program.exit().await.code(), Some(0));
    for pid in pids {
        gone(pid).await;
    }
}

#[tokio::test]
async fn server_that_is_killed_in_a_call_fails_it_and_comes_back() {
    let program = start().await;
    let client = program.mcp(None).await;
    assert_eq!(names(&client).await, ["greet", "never"]);
    let running = {
        let client = program.mcp(None).await;
        tokio::spawn(async move { call(&client, "never", json!({})).await })
    };
    program.in_flight(1).await;
    let (first, child) = (pid(&program, "inner.pid"), pid(&program, "child.pid"));
    kill(first);
    let failed = within(running).await.expect("no panic").expect("a result");
    assert_eq!(failed.is_error, Some(true), "{}", text(&failed));
    gone(child).await;

    let ready = |json: &serde_json::Value| json["ready"] == json!(true);
    program.operator_until("/ready", ready).await;
    let greeted = call(&client, "greet", json!({ "name": "Ada" }))
        .await
        .expect("a result");
    assert_eq!(text(&greeted), "hello Ada\n");
    assert_ne!(pid(&program, "inner.pid"), first);
}

#[tokio::test]
async fn program_without_a_server_is_not_ready_and_names_it_without_secrets() {
    let file = "
        [upstreams.down]
        command = ['false', 'argument-1234']
        prefix = 'down_'
        env = { TOKEN = 'secret-1234' }
        [upstreams.away]
        url = 'http://user-1234@127.0.0.1:1/path-1234?key=secret-1234'
        prefix = 'away_'
    ";
    let program = Program::start(file).await;
    let (head, ready) = program.operator("/ready").await;
    assert_eq!(head.status(), 503);
    let json: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let states = json["booth"]["upstreams"]
        .as_array()
        .expect("servers")
        .iter();
    let states: Vec<_> = states
        .map(|server| (&server["name"], &server["state"]))
        .collect();
    let down = json!("down");
    assert_eq!(states, [(&json!("away"), &down), (&json!("down"), &down)]);
    assert!(!ready.contains("1234"), "{ready}");
    assert!(
        !program.seen.join("\n").contains("1234"),
        "{:?}",
        program.seen
    );
}

#[tokio::test]
async fn command_is_served_over_http_without_a_file() {
    let folder = Folder::new();
    folder.write("inner.toml", INNER);
    let mut program = Program::spawn(folder, |command| {
        let http = ["run", "--http", "127.0.0.1:0", "--"];
        command.args(http).args([TOOLBOOTH, "run", "inner.toml"]);
        command.stdin(std::process::Stdio::null());
    });
    let line = program.logged("clients may connect").await;
    let (_, address) = line.split_once("address=").expect("an address");
    program.http = address
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(names(&program.mcp(None).await).await, ["greet", "never"]);
}

/// Starts a booth in front of a booth, beside which a process runs that has a session of its own,
/// and whose parent has ended.
async fn start_with_daemon(before: &str) -> Program {
    let folder = Folder::new();
    folder.write("inner.toml", INNER);
    let script = format!(
        "setsid sh -c 'sh -c \"echo \\$\\$ > daemon.new; mv daemon.new daemon.pid; exec sleep 1000\" &'\n\
         until [ -e daemon.pid ]; do sleep 0.01; done\n\
         echo $$ > inner.pid\n{before}\nexec {TOOLBOOTH} run inner.toml\n"
    );
    folder.write("server.sh", &script);
    let outer = "[upstreams.inner]\ncommand = ['sh', 'server.sh']\n";
    let file = folder.write("booth.toml", &with_listeners(outer));
    Program::start_file(folder, &file).await
}

#[tokio::test]
async fn process_of_a_server_with_a_session_of_its_own_ends_with_the_program() {
    for (signal, before) in [
        (Signal::TERM, ""),
        (Signal::KILL, ""),
        // The server does not end by itself.
        (Signal::TERM, "trap '' TERM; sleep 1000 < /dev/null & "),
    ] {
        let mut program = start_with_daemon(before).await;
        let daemon = pid(&program, "daemon.pid");
        assert!(runs(daemon));
        program.signal(signal);
        program.exit().await;
        gone(daemon).await;
    }
}

#[tokio::test]
async fn process_of_a_server_with_a_session_of_its_own_ends_with_the_server() {
    let program = start_with_daemon("").await;
    let daemon = pid(&program, "daemon.pid");
    // The next start writes another.
    std::fs::remove_file(program.folder.path("daemon.pid")).expect("removed");
    kill(pid(&program, "inner.pid"));
    gone(daemon).await;
}
