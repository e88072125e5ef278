//! A changed file, while calls run.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use rmcp::ClientHandler;
use rmcp::service::{NotificationContext, RoleClient};
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Folder, Program, call, names, tenant, text, with_listeners, within};

const ONE: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
[tools.nap]
command = ['sh', '-c', 'until [ -e done ]; do sleep 0.05; done; echo rested']
";
const TWO: &str = "
[tools.leave]
command = ['echo', 'bye', '{name}']
";

/// Notifies of changes of the list.
#[derive(Clone, Default)]
struct Listener(Arc<Notify>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn changed_file_applies_while_a_call_runs_and_clients_are_notified() {
    let mut program = Program::start(ONE).await;
    let changed = Arc::new(Notify::new());
    let client = program.mcp_with(None, Listener(Arc::clone(&changed))).await;
    assert_eq!(names(&client).await, ["greet", "nap"]);
    let running = {
        let client = program.mcp(None).await;
        tokio::spawn(async move { call(&client, "nap", json!({})).await })
    };
    program.in_flight(1).await;

    program.replace(TWO);
    program.logged("the file was applied").await;
    within(changed.notified()).await;
    assert_eq!(names(&client).await, ["leave"]);
    let left = call(&client, "leave", json!({ "name": "Ada" }))
        .await
        .expect("a result");
    assert_eq!(text(&left), "bye Ada\n");
    program.folder.write("done", "");
    let rested = within(running).await.expect("no panic").expect("a result");
    assert_eq!(text(&rested), "rested\n");
}

#[tokio::test]
async fn hangup_reads_the_file_again() {
    let mut program = Program::start(ONE).await;
    program.signal(Signal::HUP);
    program.logged("the file has not changed").await;
    std::fs::write(program.folder.path("booth.toml"), with_listeners(TWO)).expect("written");
    program.signal(Signal::HUP);
    program.logged("the file was applied").await;
    assert_eq!(names(&program.mcp(None).await).await, ["leave"]);
}

#[tokio::test]
async fn wrong_file_is_reported_with_its_place_and_changes_nothing() {
    let mut program = Program::start(ONE).await;
    program.replace("[tools.leave]\ncomand = ['echo']\n");
    let line = program.logged("the file is wrong, nothing changes").await;
    assert!(
        line.contains("line 2, column 1") && line.contains("did you mean `command`?"),
        "{line}"
    );
    assert_eq!(names(&program.mcp(None).await).await, ["greet", "nap"]);
    program.replace(TWO);
    program.logged("the file was applied").await;
    assert_eq!(names(&program.mcp(None).await).await, ["leave"]);
}

/// As deployments replace a mounted file: the link of the folder changes, not the file's.
#[tokio::test]
async fn replaced_link_of_a_folder_is_noticed() {
    let folder = Folder::new();
    for (name, toml) in [("one", ONE), ("two", TWO)] {
        std::fs::create_dir(folder.path(name)).expect("a folder");
        folder.write(&format!("{name}/booth.toml"), &with_listeners(toml));
    }
    symlink("one", folder.path("data")).expect("a link");
    let file = folder.path("booth.toml");
    symlink("data/booth.toml", &file).expect("a link");
    let mut program = Program::start_file(folder, &file).await;
    for name in ["two", "one"] {
        symlink(name, program.folder.path("new")).expect("a link");
        std::fs::rename(program.folder.path("new"), program.folder.path("data")).expect("renamed");
        program.logged("the file was applied").await;
    }
    assert_eq!(names(&program.mcp(None).await).await, ["greet", "nap"]);
    // The folder to which the link leads is watched, too.
    program.folder.write("one/booth.toml", &with_listeners(TWO));
    program.logged("the file was applied").await;
    assert_eq!(names(&program.mcp(None).await).await, ["leave"]);
}

#[tokio::test]
async fn tenants_change_and_a_session_of_one_that_remains_continues() {
    let tools = |tools: &str| tenant("alice", tools);
    let before = format!("{ONE}{}{}", tools("tools = ['greet']"), tenant("bob", ""));
    let mut program = Program::start(&before).await;
    let changed = Arc::new(Notify::new());
    let alice = program
        .mcp_with(Some("alice"), Listener(Arc::clone(&changed)))
        .await;
    assert_eq!(names(&alice).await, ["greet"]);
    let greet = json!({ "name": "Ada" });
    assert_eq!(program.call(Some("bob"), "greet", &greet).await.0, 200);

    program.replace(&format!(
        "{ONE}{}{}",
        tools("tools = ['nap']"),
        tenant("carol", "")
    ));
    program.logged("the file was applied").await;
    within(changed.notified()).await;
    assert_eq!(names(&alice).await, ["nap"]);
    assert_eq!(program.call(Some("bob"), "greet", &greet).await.0, 401);
    assert_eq!(program.call(Some("carol"), "greet", &greet).await.0, 200);
    assert_eq!(program.call(Some("alice"), "greet", &greet).await.0, 404);
}

#[tokio::test]
async fn file_that_is_read_without_an_end_does_not_delay_the_shutdown() {
    let mut program = Program::start(ONE).await;
    let file = program.folder.path("booth.toml");
    std::fs::remove_file(&file).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("a program").success());
    program.signal(Signal::HUP);
    // It returns when the program opens the other end, whose read then waits.
    let open = tokio::task::spawn_blocking(|| std::fs::File::options().write(true).open(file));
    let _open = within(open).await.expect("no panic").expect("opened");
    program.signal(Signal::TERM);
    assert_eq!(program.exit().await.code(), Some(0));
}
