//! A booth: how its settings change while calls run.

use std::time::Duration;

use serde_json::json;
use toolbooth::{ErrorKind, ToolCall};
use toolbooth_gateway::booth::{Booth, BoothError, UpstreamState};
use toolbooth_gateway::config::Config;
use tower::ServiceExt;

fn config(text: &str) -> Config {
    Config::from_toml(text).expect("the file is correct")
}

async fn text_of(booth: &Booth, tool: &str) -> String {
    let call = ToolCall::new(tool, json!({}));
    let output = booth
        .toolbox()
        .oneshot(call)
        .await
        .expect("the call succeeds");
    output.collect().await.expect("the call succeeds").text()
}

#[tokio::test]
async fn tools_are_added_changed_and_removed_and_the_change_is_reported() {
    let booth = Booth::open(config(
        "[tools.a]\ncommand = [\"echo\", \"1\"]\n[tools.b]\ncommand = [\"echo\", \"b\"]",
    ))
    .await
    .unwrap();
    let change = booth
        .apply(config(
            "[tools.a]\ncommand = [\"echo\", \"2\"]\n[tools.c]\ncommand = [\"echo\", \"c\"]\n\
             [policies.tools.a]\ntimeout = \"5s\"",
        ))
        .unwrap();
    assert_eq!(
        change.to_string(),
        "command a: changed\ncommand b: removed\ncommand c: added\n\
         tool a: timeout 2m -> 5s\n\
         tool b: group commands -> none"
    );
    assert_eq!(booth.toolbox().names(), ["a", "c"]);
    assert_eq!(text_of(&booth, "a").await, "2\n");

    let same = booth.apply(Config::clone(&booth.config())).unwrap();
    assert_eq!(same.to_string(), "nothing changed");
    assert!(same.is_empty());
}

#[tokio::test]
async fn settings_that_cannot_be_used_change_nothing() {
    let first = config("[tools.a]\ncommand = [\"echo\", \"1\"]");
    let booth = Booth::open(first.clone()).await.unwrap();
    let mut wrong = config(
        "[tools.a]\ncommand = [\"echo\", \"2\"]\n[tools.z]\ncommand = [\"echo\"]\n\
         [policies.default]\ntimeout = \"1ms\"",
    );
    wrong.tools.get_mut("z").unwrap().input_schema = json!({ "type": "sting" });
    let error = booth.apply(wrong).unwrap_err();
    assert!(
        matches!(error, BoothError::Command { ref tool, .. } if tool == "z"),
        "{error}"
    );
    assert_eq!(*booth.config(), first);
    assert_eq!(text_of(&booth, "a").await, "1\n");
}

#[tokio::test]
async fn limit_keeps_its_state_when_other_settings_change() {
    let text = |word: &str| {
        format!(
            "[tools.a]\ncommand = [\"echo\", \"{word}\"]\n\
             [policies.tools.a]\nrate = \"1/h\"\nqueue = \"none\""
        )
    };
    let booth = Booth::open(config(&text("1"))).await.unwrap();
    assert_eq!(text_of(&booth, "a").await, "1\n");
    booth.apply(config(&text("2"))).unwrap();
    let call = ToolCall::new("a", json!({}));
    let error = booth
        .toolbox()
        .oneshot(call)
        .await
        .expect_err("the token is spent");
    assert_eq!(error.kind(), ErrorKind::RateLimited);
}

#[tokio::test]
async fn server_that_is_down_stops_no_other_tool_and_its_state_has_the_reason() {
    let booth = Booth::open(config(
        "[tools.a]\ncommand = [\"echo\", \"1\"]\n\
         [upstreams.gone]\ncommand = [\"/missing/server\"]",
    ))
    .await
    .unwrap();
    assert_eq!(text_of(&booth, "a").await, "1\n");
    let status = booth.status();
    let [gone] = status.upstreams.as_slice() else {
        panic!("there is one server");
    };
    assert_eq!(
        (gone.name.as_str(), gone.state),
        ("gone", UpstreamState::Down)
    );
    let reason = "its program could not be started";
    assert_eq!(gone.last_error.as_deref(), Some(reason));
    assert!(!status.is_ready());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["upstreams"][0]["state"], "down");
    assert!(json["upstreams"][0].get("details").is_none());

    let removed = booth
        .apply(config("[tools.a]\ncommand = [\"echo\", \"1\"]"))
        .unwrap();
    assert_eq!(removed.to_string(), "server gone: removed");
    assert!(booth.status().is_ready());
    assert!(booth.close(Duration::from_secs(5)).await);
}
