//! Tools that are inserted, replaced and removed while calls run.

use tokio::sync::oneshot;
use tower::{Service, ServiceExt};

use super::*;

/// R4. A call in flight stays on the tool that it was resolved to.
#[tokio::test(start_paused = true)]
async fn calls_in_flight_keep_the_tool_that_they_were_resolved_to() {
    let toolbox = Toolbox::builder()
        .tool("work", takes_a_second("first"))
        .build()
        .unwrap();
    let start = || tokio::spawn(text_of(toolbox.clone(), call("work")));
    let first = start();
    tokio::task::yield_now().await;

    let previous = toolbox.replace("work", takes_a_second("second")).unwrap();
    assert_eq!(previous, ToolSpec::new("work"));
    let second = start();
    tokio::task::yield_now().await;

    assert_eq!(toolbox.remove("work"), Some(ToolSpec::new("work")));
    let third = error_of(toolbox.clone(), call("work")).await;
    assert_eq!(third.kind(), ErrorKind::UnknownTool);
    assert_eq!(first.await.unwrap(), "first");
    assert_eq!(second.await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn call_is_resolved_when_it_is_made_and_not_when_it_is_polled() {
    let mut toolbox = toolbox(["search"]);
    let future = toolbox.call(call("search"));
    toolbox.remove("search").unwrap();
    let output = future.await.unwrap().collect().await.unwrap();
    assert_eq!(output.text(), "search");
}

#[tokio::test(start_paused = true)]
async fn removed_tool_is_dropped_after_its_last_call() {
    let (alive, mut dropped) = oneshot::channel::<()>();
    let alive = std::sync::Arc::new(alive);
    let tool = service_fn(move |_: ToolCall| {
        let alive = std::sync::Arc::clone(&alive);
        async move {
            tokio::time::sleep(ms(1_000)).await;
            drop(alive);
            Ok::<_, ToolError>(ToolOutput::text("done"))
        }
    });
    let toolbox = toolbox([]);
    toolbox.insert("work", tool).unwrap();
    let running = tokio::spawn(text_of(toolbox.clone(), call("work")));
    tokio::task::yield_now().await;
    toolbox.remove("work");
    assert_eq!(dropped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    running.await.unwrap();
    assert_eq!(
        dropped.try_recv(),
        Err(oneshot::error::TryRecvError::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn replacing_an_unknown_tool_changes_nothing() {
    let toolbox = toolbox(["search"]);
    let error = toolbox.replace("serach", says("new")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`replace` names the tool `serach`, which is not there: did you mean `search`?"
    );
    assert_eq!(toolbox.remove("serach"), None);
    assert_eq!(toolbox.names(), ["search"]);
}

#[tokio::test(start_paused = true)]
async fn resolved_tool_stays_the_same_after_a_replacement() {
    let toolbox = toolbox(["search"]);
    let search = toolbox.get("search").unwrap();
    toolbox.replace("search", says("new")).unwrap();
    assert_eq!(text_of(search, call("search")).await, "search");
    assert_eq!(text_of(toolbox, call("search")).await, "new");
}

#[tokio::test(start_paused = true)]
async fn layers_and_settings_apply_to_tools_that_are_inserted_later() {
    let toolbox = Toolbox::builder()
        .layer(TimeoutLayer::new(ms(500)).with_name("all"))
        .build()
        .unwrap();
    toolbox.insert("work", takes_a_second("late")).unwrap();
    let error = error_of(toolbox, call("work")).await;
    assert_eq!(
        (error.kind(), error.layer()),
        (ErrorKind::Timeout, Some("all"))
    );
}

#[tokio::test(start_paused = true)]
async fn changes_are_notified_and_failures_are_not() {
    let toolbox = toolbox(["a"]);
    let mut changes = toolbox.changes();
    let mut changed = async || tokio::time::timeout(ms(10), changes.changed()).await;
    assert!(changed().await.is_err());
    toolbox.insert("b", says("b")).unwrap();
    toolbox.replace("b", says("c")).unwrap();
    assert_eq!(changed().await, Ok(true));
    toolbox.insert("b", says("b")).unwrap_err();
    toolbox.replace("c", says("b")).unwrap_err();
    assert_eq!(toolbox.remove("c"), None);
    assert!(changed().await.is_err());
    toolbox.remove("b").unwrap();
    assert_eq!(changed().await, Ok(true));
    drop(toolbox);
    assert_eq!(changed().await, Ok(false));
}

fn takes_a_second(text: &'static str) -> impl Tool {
    says(text).map_future(|response| async {
        tokio::time::sleep(ms(1_000)).await;
        response.await
    })
}
