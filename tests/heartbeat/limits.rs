//! Which limit strikes, and when.

use tokio::time::{Instant, sleep};
use toolbooth::PerTool;
use toolbooth_test::{GeneratorTool, HeartbeatTool};

use super::*;

// === the tool that beats every 600 ms ===

#[tokio::test(start_paused = true)]
async fn heartbeat_tool_under_an_idle_limit_of_1000_is_done_at_2000_with_four_beats() {
    let tool = HeartbeatTool::new();
    let answer = collected(idle(1_000).layer(tool.clone()), call()).await;
    assert_eq!(answer.unwrap().contents(), [json!({ "items": 10 }).into()]);
    let beats = [(ms(0), 0), (ms(600), 3), (ms(1_200), 6), (ms(1_800), 9)];
    assert_eq!(tool.beats().entries(), beats);
}

#[tokio::test(start_paused = true)]
async fn heartbeat_tool_under_an_idle_limit_of_599_is_cut_at_599() {
    let tool = HeartbeatTool::new();
    let cut = ended(idle(599).layer(tool.clone()), call()).await;
    assert_eq!(cut, struck(IDLE, 599, 599));
    assert_eq!(tool.beats().times(), [ms(0)]);
    assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
}

/// A tie: what comes in the very moment of the limit counts, here a beat.
#[tokio::test(start_paused = true)]
async fn a_beat_at_the_idle_limit_counts() {
    let tool = HeartbeatTool::new();
    assert_eq!(
        ended(idle(600).layer(tool.clone()), call()).await,
        ok(2_000)
    );
    assert_eq!(tool.beats().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_total_limit_cuts_a_tool_that_beats_and_hands_out_its_last_progress() {
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
async fn a_deadline_and_a_limit_further_out_are_caps_on_a_tool_that_beats() {
    let beats = stirs(ms(100), 100, CallContext::heartbeat);
    let deadline = call().with_deadline(Instant::now() + ms(700));
    assert_eq!(
        ended(idle(150).layer(beats.clone()), deadline).await,
        struck(DEADLINE, 700, 700)
    );
    let capped = TimeoutLayer::new(ms(800)).layer(idle(150).layer(beats));
    assert_eq!(ended(capped, call()).await, struck(TOTAL, 800, 800));
}

/// Of two limits that strike in one moment, the one on the whole call is named, here the outer layer's.
#[tokio::test(start_paused = true)]
async fn of_equal_limits_the_total_one_strikes() {
    let hangs = || stirs(ms(10_000), 1, |_| ());
    let both = TimeoutLayer::new(ms(300)).with_idle(ms(300));
    assert_eq!(
        ended(both.layer(hangs()), call()).await,
        struck(TOTAL, 300, 300)
    );
    let nested = TimeoutLayer::new(ms(300)).layer(idle(300).layer(hangs()));
    assert_eq!(ended(nested, call()).await, struck(TOTAL, 300, 300));
    let idle_first = TimeoutLayer::new(ms(300)).layer(idle(299).layer(hangs()));
    assert_eq!(ended(idle_first, call()).await, struck(IDLE, 299, 299));
}

// === P4: first item, idle, total ===

#[tokio::test(start_paused = true)]
async fn p4_pieces_every_200_ms_under_an_idle_limit_of_500_all_come() {
    let pieces = GeneratorTool::new(ms(200), 21);
    assert_eq!(ended(idle(500).layer(pieces), call()).await, ok(4_000));
    let emits = stirs(ms(200), 20, |call| call.emit("chunk"));
    assert_eq!(ended(idle(500).layer(emits), call()).await, ok(4_000));
}

#[tokio::test(start_paused = true)]
async fn p4_an_idle_limit_of_150_cuts_at_150_with_one_piece() {
    let pieces = kept(&idle(150), GeneratorTool::new(ms(200), 20));
    let watch = Stopwatch::start();
    let error = collected(pieces, call()).await.unwrap_err();
    assert_eq!(watch.elapsed(), ms(150));
    assert_eq!(scope_of(&error), (IDLE, 150, 150));
    assert_eq!(error.partial().unwrap().contents(), GeneratorTool::items(1));
    assert_eq!(
        error.to_string(),
        "timed out after 150ms (idle limit of 150ms)"
    );

    let emits = kept(&idle(150), stirs(ms(200), 20, |call| call.emit("chunk")));
    let error = collected(emits, call()).await.unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 150, 150));
    assert_eq!(texts(error.partial().unwrap().contents()), ["chunk"]);
}

#[tokio::test(start_paused = true)]
async fn p4_the_first_item_has_a_limit_of_its_own() {
    // It emits its first chunk after this time, and another one every 200 ms.
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
    // Until the first item the idle limit does not hold.
    let at_999 = ended(limits.layer(begins_after(999)), call()).await;
    assert_eq!(at_999, ok(1_999));
    let at_1000 = ended(limits.layer(begins_after(1_000)), call()).await;
    assert_eq!(at_1000, ok(2_000));
    let late = ended(limits.layer(begins_after(1_001)), call()).await;
    assert_eq!(late, struck(FIRST_ITEM, 1_000, 1_000));
    // And behind it, the idle limit does, to the millisecond.
    let hangs = stirs(ms(60_000), 1, |call| call.emit("chunk"));
    let hung = ended(limits.layer(hangs), call()).await;
    assert_eq!(hung, struck(IDLE, 300, 300));
    // The total one holds throughout.
    let short = TimeoutLayer::new(ms(500)).with_first_item(ms(1_000));
    let cut = ended(short.layer(begins_after(600)), call()).await;
    assert_eq!(cut, struck(TOTAL, 500, 500));
}

#[tokio::test(start_paused = true)]
async fn a_first_item_that_another_task_emits_starts_the_idle_limit_there_and_then() {
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
    let cut = ended(limits.layer(hangs), call()).await;
    assert_eq!(cut, struck(IDLE, 300, 1_350));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_progress_are_no_item_and_a_snapshot_a_piece_or_a_whole_answer_is() {
    let first = TimeoutLayer::unlimited().with_first_item(ms(250));
    let stirring = |stir: fn(&CallContext)| stirs(ms(100), 5, stir);
    let cut = struck(FIRST_ITEM, 250, 250);
    for nothing in [CallContext::heartbeat, |call: &CallContext| {
        call.progress(1, None, None);
    }] {
        assert_eq!(ended(first.layer(stirring(nothing)), call()).await, cut);
    }
    for item in [
        |call: &CallContext| call.emit("chunk"),
        |call: &CallContext| call.snapshot("half"),
    ] {
        assert_eq!(ended(first.layer(stirring(item)), call()).await, ok(500));
    }
    let pieces = GeneratorTool::new(ms(400), 3);
    assert_eq!(ended(first.layer(pieces), call()).await, ok(800));
    let whole = stirs(ms(250), 1, |_| ());
    assert_eq!(ended(first.layer(whole), call()).await, ok(250));
}

// === by tool, by call ===

#[tokio::test(start_paused = true)]
async fn tools_have_idle_and_first_item_limits_of_their_own() {
    let limits = TimeoutLayer::unlimited()
        .with_idle(
            PerTool::new(ms(100))
                .with("watch", ms(400))
                .with("build", None),
        )
        .with_first_item(PerTool::none().with("build", ms(700)));
    let hangs = stirs(ms(60_000), 1, |_| ());
    for (name, expected) in [
        ("grep", struck(IDLE, 100, 100)),
        ("watch", struck(IDLE, 400, 400)),
        ("build", struck(FIRST_ITEM, 700, 700)),
    ] {
        let call = ToolCall::new(name, json!(null));
        assert_eq!(ended(limits.layer(hangs.clone()), call).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_the_call_replace_those_of_the_outermost_timeout() {
    let hangs = stirs(ms(60_000), 1, |_| ());
    let layer = idle(100);
    let long = || call().with_idle_timeout(ms(250));
    assert_eq!(
        ended(layer.layer(hangs.clone()), long()).await,
        struck(IDLE, 250, 250)
    );
    // Those of the inner one still hold.
    let nested = idle(100).layer(idle(200).layer(hangs.clone()));
    assert_eq!(ended(nested, long()).await, struck(IDLE, 200, 200));
    // Where the layer has none, too.
    let bare = TimeoutLayer::unlimited();
    let first = call().with_first_item_timeout(ms(80));
    assert_eq!(
        ended(bare.layer(hangs.clone()), first).await,
        struck(FIRST_ITEM, 80, 80)
    );
    let none = call().with_idle_timeout(Duration::MAX);
    assert_eq!(ended(layer.layer(hangs), none).await, ok(60_000));
}

#[tokio::test(start_paused = true)]
async fn zero_lets_pass_what_is_ready_and_max_is_no_limit() {
    let waits = stirs(ms(1), 1, CallContext::heartbeat);
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
        let cut = ended(layer.layer(waits.clone()), call()).await;
        assert_eq!(cut, struck(scope, 0, 0));
    }
    // With an idle limit of zero, one on the first item holds all the same.
    let both = idle(0).with_first_item(ms(20));
    let hangs = stirs(ms(60_000), 1, CallContext::heartbeat);
    assert_eq!(
        ended(both.layer(hangs.clone()), call()).await,
        struck(FIRST_ITEM, 20, 20)
    );

    let max = TimeoutLayer::unlimited()
        .with_idle(Duration::MAX)
        .with_first_item(Duration::MAX);
    assert_eq!(ended(max.layer(hangs), call()).await, ok(60_000));
}
