//! Which limit expires, and when (guarantee P4).

use tokio::time::{Instant, sleep};
use toolbooth::PerTool;
use toolbooth_test::{GeneratorTool, HeartbeatTool};

use super::*;

// === a tool that beats every 600 ms ===

#[tokio::test(start_paused = true)]
async fn heartbeat_tool_completes_under_an_idle_limit_of_1000_with_four_beats() {
    let tool = HeartbeatTool::new();
    let answer = collected(idle(1_000).layer(tool.clone()), call()).await;
    assert_eq!(answer.unwrap().contents(), [json!({ "items": 10 }).into()]);
    let beats = [(ms(0), 0), (ms(600), 3), (ms(1_200), 6), (ms(1_800), 9)];
    assert_eq!(tool.beats().entries(), beats);
}

#[tokio::test(start_paused = true)]
async fn heartbeat_tool_expires_under_an_idle_limit_of_599() {
    let tool = HeartbeatTool::new();
    let ended = ended(idle(599).layer(tool.clone()), call()).await;
    assert_eq!(ended, expired(IDLE, 599, 599));
    assert_eq!(tool.beats().times(), [ms(0)]);
    assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
}

/// A tie: a beat at the instant of the limit counts.
#[tokio::test(start_paused = true)]
async fn beat_at_the_idle_limit_counts() {
    let tool = HeartbeatTool::new();
    assert_eq!(
        ended(idle(600).layer(tool.clone()), call()).await,
        ok(2_000)
    );
    assert_eq!(tool.beats().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn total_limit_expires_for_a_tool_that_beats_and_keeps_its_last_progress() {
    let tool = HeartbeatTool::new();
    let limits = TimeoutLayer::new(ms(1_000)).with_idle(ms(1_000));
    let error = collected(kept(&limits, tool.clone()), call())
        .await
        .unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 1_000, 1_000));
    assert_eq!(tool.beats().values(), [0, 3]);
    let progress = error.partial().unwrap().progress().unwrap();
    assert_eq!((progress.done(), progress.total()), (3, Some(10)));
    assert_eq!(progress.message(), Some("item 3"));
}

#[tokio::test(start_paused = true)]
async fn deadline_and_outer_limit_cap_a_tool_that_beats() {
    let beats = repeats(ms(100), 100, CallContext::heartbeat);
    let deadline = call().with_deadline(Instant::now() + ms(700));
    assert_eq!(
        ended(idle(150).layer(beats.clone()), deadline).await,
        expired(DEADLINE, 700, 700)
    );
    let capped = TimeoutLayer::new(ms(800)).layer(idle(150).layer(beats));
    assert_eq!(ended(capped, call()).await, expired(TOTAL, 800, 800));
}

/// Of two limits that expire at the same instant the error names the total one.
#[tokio::test(start_paused = true)]
async fn total_limit_precedes_an_equal_idle_limit() {
    let hangs = || repeats(ms(10_000), 1, |_| ());
    let both = TimeoutLayer::new(ms(300)).with_idle(ms(300));
    assert_eq!(
        ended(both.layer(hangs()), call()).await,
        expired(TOTAL, 300, 300)
    );
    let nested = TimeoutLayer::new(ms(300)).layer(idle(300).layer(hangs()));
    assert_eq!(ended(nested, call()).await, expired(TOTAL, 300, 300));
    let idle_first = TimeoutLayer::new(ms(300)).layer(idle(299).layer(hangs()));
    assert_eq!(ended(idle_first, call()).await, expired(IDLE, 299, 299));
}

// === P4: first item, idle, total ===

/// P4.
#[tokio::test(start_paused = true)]
async fn items_every_200_ms_all_arrive_under_an_idle_limit_of_500() {
    let items = GeneratorTool::new(ms(200), 21);
    assert_eq!(ended(idle(500).layer(items), call()).await, ok(4_000));
    let emits = repeats(ms(200), 20, |call| call.emit("chunk"));
    assert_eq!(ended(idle(500).layer(emits), call()).await, ok(4_000));
}

/// P4.
#[tokio::test(start_paused = true)]
async fn idle_limit_of_150_expires_at_150_with_one_item() {
    let items = kept(&idle(150), GeneratorTool::new(ms(200), 20));
    let watch = Stopwatch::start();
    let error = collected(items, call()).await.unwrap_err();
    assert_eq!(watch.elapsed(), ms(150));
    assert_eq!(scope_of(&error), (IDLE, 150, 150));
    assert_eq!(error.partial().unwrap().contents(), GeneratorTool::items(1));
    assert_eq!(
        error.to_string(),
        "timed out after 150ms (idle limit of 150ms of `timeout`)"
    );

    let emits = kept(&idle(150), repeats(ms(200), 20, |call| call.emit("chunk")));
    let error = collected(emits, call()).await.unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 150, 150));
    assert_eq!(texts(error.partial().unwrap().contents()), ["chunk"]);
}

/// P4.
#[tokio::test(start_paused = true)]
async fn first_item_has_its_own_limit() {
    // A tool that emits its first chunk after this time, and another one every 200 ms.
    let begins_after = |time: u64| {
        tool(move |call| async move {
            sleep(ms(time)).await;
            for _ in 0..5 {
                call.emit("chunk");
                sleep(ms(200)).await;
            }
            Ok(ToolOutput::text("done"))
        })
    };
    let limits = TimeoutLayer::new(ms(5_000))
        .with_first_item(ms(1_000))
        .with_idle(ms(300));
    // The idle limit starts with the first item.
    let at_999 = ended(limits.layer(begins_after(999)), call()).await;
    assert_eq!(at_999, ok(1_999));
    let at_1000 = ended(limits.layer(begins_after(1_000)), call()).await;
    assert_eq!(at_1000, ok(2_000));
    let late = ended(limits.layer(begins_after(1_001)), call()).await;
    assert_eq!(late, expired(FIRST_ITEM, 1_000, 1_000));
    // After it the idle limit applies, to the millisecond.
    let hangs = repeats(ms(60_000), 1, |call| call.emit("chunk"));
    let hung = ended(limits.layer(hangs), call()).await;
    assert_eq!(hung, expired(IDLE, 300, 300));
    // The total limit always applies.
    let short = TimeoutLayer::new(ms(500)).with_first_item(ms(1_000));
    let total = ended(short.layer(begins_after(600)), call()).await;
    assert_eq!(total, expired(TOTAL, 500, 500));
}

#[tokio::test(start_paused = true)]
async fn first_item_of_another_task_starts_the_idle_limit() {
    let limits = TimeoutLayer::unlimited()
        .with_first_item(ms(10_000))
        .with_idle(ms(300));
    let hangs = tool(|call| async move {
        tokio::spawn(async move {
            sleep(ms(1_050)).await;
            call.emit("chunk");
        });
        std::future::pending().await
    });
    let ended = ended(limits.layer(hangs), call()).await;
    assert_eq!(ended, expired(IDLE, 300, 1_350));
}

#[tokio::test(start_paused = true)]
async fn chunks_snapshots_and_responses_are_items_and_heartbeats_and_progress_are_not() {
    let first = TimeoutLayer::unlimited().with_first_item(ms(250));
    let acting = |act: fn(&CallContext)| repeats(ms(100), 5, act);
    let timed_out = expired(FIRST_ITEM, 250, 250);
    for nothing in [CallContext::heartbeat, |call: &CallContext| {
        call.progress(1, None, None);
    }] {
        assert_eq!(ended(first.layer(acting(nothing)), call()).await, timed_out);
    }
    for item in [
        |call: &CallContext| call.emit("chunk"),
        |call: &CallContext| call.snapshot("half"),
    ] {
        assert_eq!(ended(first.layer(acting(item)), call()).await, ok(500));
    }
    let items = GeneratorTool::new(ms(400), 3);
    assert_eq!(ended(first.layer(items), call()).await, ok(800));
    let buffered = repeats(ms(250), 1, |_| ());
    assert_eq!(ended(first.layer(buffered), call()).await, ok(250));
}

// === limits by tool and by call ===

#[tokio::test(start_paused = true)]
async fn each_tool_has_its_own_idle_and_first_item_limits() {
    let limits = TimeoutLayer::unlimited()
        .with_idle(
            PerTool::new(ms(100))
                .with("watch", ms(400))
                .with("build", None),
        )
        .with_first_item(PerTool::none().with("build", ms(700)));
    let hangs = repeats(ms(60_000), 1, |_| ());
    for (name, expected) in [
        ("grep", expired(IDLE, 100, 100)),
        ("watch", expired(IDLE, 400, 400)),
        ("build", expired(FIRST_ITEM, 700, 700)),
    ] {
        let call = ToolCall::new(name, json!(null));
        assert_eq!(ended(limits.layer(hangs.clone()), call).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_the_call_replace_those_of_the_outermost_timeout() {
    let hangs = repeats(ms(60_000), 1, |_| ());
    let layer = idle(100);
    let long = || call().with_idle_timeout(ms(250));
    assert_eq!(
        ended(layer.layer(hangs.clone()), long()).await,
        expired(IDLE, 250, 250)
    );
    // The limits of an inner layer still apply.
    let nested = idle(100).layer(idle(200).layer(hangs.clone()));
    assert_eq!(ended(nested, long()).await, expired(IDLE, 200, 200));
    // Also if the layer has none.
    let bare = TimeoutLayer::unlimited();
    let first = call().with_first_item_timeout(ms(80));
    assert_eq!(
        ended(bare.layer(hangs.clone()), first).await,
        expired(FIRST_ITEM, 80, 80)
    );
    let none = call().with_idle_timeout(Duration::MAX);
    assert_eq!(ended(layer.layer(hangs), none).await, ok(60_000));
}

#[tokio::test(start_paused = true)]
async fn zero_passes_only_a_ready_response_and_max_is_no_limit() {
    let waits = repeats(ms(1), 1, CallContext::heartbeat);
    let ready = tool(|call| async move {
        call.emit("chunk");
        Ok(ToolOutput::text("done"))
    });
    let zero = [
        (idle(0), IDLE),
        (
            TimeoutLayer::unlimited().with_first_item(Duration::ZERO),
            FIRST_ITEM,
        ),
    ];
    for (layer, scope) in zero {
        assert_eq!(ended(layer.layer(ready.clone()), call()).await, ok(0));
        let waited = ended(layer.layer(waits.clone()), call()).await;
        assert_eq!(waited, expired(scope, 0, 0));
    }
    // With an idle limit of zero the limit on the first item still applies.
    let both = idle(0).with_first_item(ms(20));
    let hangs = repeats(ms(60_000), 1, CallContext::heartbeat);
    assert_eq!(
        ended(both.layer(hangs.clone()), call()).await,
        expired(FIRST_ITEM, 20, 20)
    );

    let max = TimeoutLayer::unlimited()
        .with_idle(Duration::MAX)
        .with_first_item(Duration::MAX);
    assert_eq!(ended(max.layer(hangs), call()).await, ok(60_000));
}
