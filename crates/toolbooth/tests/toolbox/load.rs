//! Many tools, many calls, and many changes on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tower::ServiceExt;

use super::*;

/// Tools are inserted, replaced and removed while calls of others run: no call of a tool that stays
/// fails, and a call of a tool that changes finds it or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_disturb_no_call_of_another_tool() {
    const CHANGES: usize = 500;
    let toolbox = toolbox(["stays"]);
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (toolbox, over) = (toolbox.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut made = 0_u64;
                while !over.load(Ordering::Acquire) {
                    assert_eq!(text_of(toolbox.clone(), call("stays")).await, "stays");
                    match toolbox.clone().oneshot(call("changes-0")).await {
                        Ok(output) => {
                            let text = output.collect().await.unwrap().text();
                            assert!(["old", "new"].contains(&&*text), "{text}");
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownTool),
                    }
                    made += 1;
                    tokio::task::yield_now().await;
                }
                made
            })
        })
        .collect();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let toolbox = toolbox.clone();
            let name: &'static str = ["changes-0", "changes-1"][writer];
            tokio::spawn(async move {
                for _ in 0..CHANGES {
                    toolbox.insert(name, says("old")).unwrap();
                    toolbox.insert(name, says("other")).unwrap_err();
                    toolbox.replace(name, says("new")).unwrap();
                    assert_eq!(toolbox.remove(name), Some(ToolSpec::new(name)));
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    over.store(true, Ordering::Release);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    assert_eq!(toolbox.names(), ["stays"]);
}

/// One of several inserts of a name succeeds, and its tool is the one that is called.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_inserts_at_once_succeeds() {
    for _ in 0..50 {
        let toolbox = toolbox([]);
        let start = Arc::new(tokio::sync::Barrier::new(4));
        let tasks = ["0", "1", "2", "3"].map(|text| {
            let (toolbox, start) = (toolbox.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                toolbox.insert("name", says(text)).is_ok().then_some(text)
            })
        });
        let mut inserted = Vec::new();
        for task in tasks {
            inserted.extend(task.await.unwrap());
        }
        let [winner] = inserted.try_into().expect("one insert");
        assert_eq!(text_of(toolbox, call("name")).await, winner);
    }
}

/// A saturated tool delays no other, and no lookup.
#[tokio::test(start_paused = true)]
async fn ten_thousand_tools_are_found_while_one_is_saturated() {
    let names: Vec<String> = (0..10_000).map(|n| format!("tool-{n:05}")).collect();
    let mut builder = Toolbox::builder().tool("saturated", ScriptedTool::pending());
    for name in &names {
        builder = builder.tool(&**name, says("found"));
    }
    let toolbox = builder
        .layer(toolbooth::ConcurrencyLimitLayer::per_tool(PerTool::new(1)))
        .build()
        .unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|_| tokio::spawn(toolbox.clone().oneshot(call("saturated"))))
        .collect();
    tokio::task::yield_now().await;
    for name in names.iter().step_by(97) {
        assert_eq!(text_of(toolbox.clone(), call(name)).await, "found");
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let error = error_of(toolbox, call("tool-0123x")).await;
    assert_eq!(
        error.to_string(),
        "there is no tool named `tool-0123x`, \
         did you mean `tool-01230`, `tool-01231` or `tool-01232`?"
    );
}

#[tokio::test(start_paused = true)]
async fn name_of_a_megabyte_is_unknown_and_not_echoed_whole() {
    let toolbox = toolbox(["search"]);
    for long in ["search".repeat(200_000), "é".repeat(500_000)] {
        let error = error_of(toolbox.clone(), call(&*long)).await;
        assert_eq!(error.kind(), ErrorKind::UnknownTool);
        for text in [
            error.to_string(),
            error.public_message(),
            format!("{error:#?}"),
        ] {
            assert!(text.contains("there is no tool named") && text.contains("..."));
        }
        assert!(error.to_string().len() < 300 && error.public_message().len() < 300);
        let ToolError::UnknownTool { name, nearest, .. } = &error else {
            unreachable!("{error}")
        };
        assert!(name.len() < 150 && nearest.is_empty());
    }
}
