//! Slow readers, and readers on other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use toolbooth::{CallContext, Content};

use super::*;

/// A tool that emits an item each millisecond and reports progress after each, without a bound on
/// its rate.
fn busy(items: u64) -> ScriptedTool {
    ScriptedTool::new(move |call: ToolCall| async move {
        for item in 1..=items {
            call.context().emit(format!("item {item}"));
            call.context().progress(item, items, None);
            sleep(ms(1)).await;
        }
        Ok(ToolOutput::text("done"))
    })
}

/// How long a call takes, and what is left for a reader that starts afterwards.
async fn unread(take: fn(&ToolCall) -> Option<Updates>) -> (Duration, Vec<String>) {
    let service = TimeoutLayer::new(Duration::from_secs(60))
        .layer(PartialResultLayer::new().layer(busy(1_000)));
    let call = call();
    let mut updates = take(&call);
    let start = Instant::now();
    assert_eq!(text_of(service, call).await, "done");
    let took = start.elapsed();
    let mut left = Vec::new();
    while let Some(updates) = &mut updates {
        match updates.recv().await {
            Some(update) => left.push(text(&update)),
            None => break,
        }
    }
    (took, left)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn reader_that_does_not_read_slows_nothing_and_receives_how_much_it_missed() {
    let (alone, _) = unread(|_| None).await;
    assert_eq!(alone, ms(1_000));

    let (took, left) = unread(|call| Some(call.updates())).await;
    assert_eq!(took, alone);
    // The newest 255 items and the last report of progress. Older reports are not missed.
    assert_eq!(left[0], "1 745 missed");
    let items = (746..=1_000).map(|item| format!("1 item {item}"));
    let expected: Vec<_> = items.chain(["1 1000 done".to_owned()]).collect();
    assert_eq!(left[1..], expected);

    let (took, left) = unread(|call| Some(call.updates_with_capacity(1))).await;
    assert_eq!(took, alone);
    assert_eq!(left.len(), 2);
    assert_eq!(left[1], "1 1000 done");

    let (took, left) = unread(|call| Some(call.updates_with_capacity(usize::MAX))).await;
    assert_eq!((took, left.len()), (alone, 2_000));
}

/// A reader that takes 4 ms for each update: the updates that it receives and those that it missed
/// are all updates but the reports of progress that newer ones replaced.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn slow_reader_receives_or_counts_each_item() {
    let service = TimeoutLayer::new(Duration::from_secs(60)).layer(busy(1_000));
    let call = call();
    let mut updates = call.updates_with_capacity(16);
    let reader = tokio::spawn(async move {
        let (mut items, mut missed, mut done) = (Vec::new(), 0, 0);
        while let Some(update) = updates.recv().await {
            match update.kind {
                UpdateKind::Item(item) => items.push(item.to_text().into_owned()),
                UpdateKind::Lagged(more) => missed += more,
                UpdateKind::Progress(progress) => {
                    assert!(progress.done() > done);
                    done = progress.done();
                }
                other => unreachable!("{other:?}"),
            }
            sleep(ms(4)).await;
        }
        (items, missed, done)
    });
    let start = Instant::now();
    assert_eq!(text_of(service, call).await, "done");
    assert_eq!(start.elapsed(), ms(1_000));
    let (items, missed, done) = reader.await.unwrap();
    assert_eq!(items.len() as u64 + missed, 1_000);
    assert!(missed > 500, "{missed} were missed");
    assert_eq!((&*items[items.len() - 1], done), ("item 1000", 1_000));
    assert!(items.is_sorted_by_key(|item| item[5..].parse::<u32>().unwrap()));
}

/// Bytes that count themselves while they are in memory.
struct InMemory(Arc<AtomicUsize>);

impl AsRef<[u8]> for InMemory {
    fn as_ref(&self) -> &[u8] {
        &[0; 1_000]
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn emit_counted(context: &CallContext, in_memory: &Arc<AtomicUsize>) {
    in_memory.fetch_add(1, Ordering::SeqCst);
    let bytes = Bytes::from_owner(InMemory(Arc::clone(in_memory)));
    context.emit(Content::data("a/b", bytes));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn reader_that_is_dropped_leaves_nothing_in_memory_and_the_call_runs_on() {
    let in_memory = Arc::<AtomicUsize>::default();
    let counts = Arc::clone(&in_memory);
    let service = TimeoutLayer::new(ms(100)).layer(ScriptedTool::new(move |call: ToolCall| {
        let counts = Arc::clone(&counts);
        async move {
            (0..1_000).for_each(|_| emit_counted(call.context(), &counts));
            sleep(ms(10)).await;
            (0..1_000).for_each(|_| emit_counted(call.context(), &counts));
            Ok(ToolOutput::text("done"))
        }
    }));
    let call = call();
    let updates = call.updates();
    let running = tokio::spawn(text_of(service, call));
    sleep(ms(5)).await;
    assert_eq!(in_memory.load(Ordering::SeqCst), 256);
    drop(updates);
    assert_eq!(in_memory.load(Ordering::SeqCst), 0);
    assert_eq!(running.await.unwrap(), "done");
    assert_eq!(in_memory.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_work_publishes_to_a_reader_on_another_thread() {
    const ITEMS: usize = 2_000;
    let tool = ScriptedTool::new(async |call| {
        let context = call.context().clone();
        let work = call.context().spawn_blocking(move |_| {
            (0..ITEMS).for_each(|item| context.emit(format!("{item}")));
        });
        work.await.map_err(|panic| panic.to_string())?;
        Ok(ToolOutput::text("done"))
    });
    let service = TimeoutLayer::new(Duration::from_secs(60)).layer(tool);
    let call = call();
    let read = read(call.updates_with_capacity(ITEMS));
    assert_eq!(text_of(service, call).await, "done");
    let read: Vec<_> = read
        .await
        .unwrap()
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let expected = (0..ITEMS).map(|item| format!("1 {item}"));
    let expected: Vec<_> = expected.chain(["end".to_owned()]).collect();
    assert_eq!(read, expected);
}
