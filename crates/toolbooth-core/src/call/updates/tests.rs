//! The queue of a reader, and which updates an attempt sends to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use super::queue::Queue;
use super::*;
use crate::call::{CallContext, ToolCall};
use crate::error::ToolError;
use crate::outcome::CancelReason;
use crate::response::{KeepPolicy, Partial};
use crate::seam::{End, Part};

fn call() -> ToolCall<()> {
    ToolCall::new("tool", ())
}

/// The updates that are queued, as short texts with their attempts.
fn received(updates: &mut Updates) -> Vec<String> {
    let next = std::iter::from_fn(|| updates.try_recv());
    next.map(|update| text(&update)).collect()
}

fn text(Update { attempt, kind }: &Update) -> String {
    match kind {
        UpdateKind::Item(item) => format!("{attempt} {}", item.to_text()),
        UpdateKind::Snapshot(snapshot) => format!("{attempt} = {}", snapshot.to_text()),
        UpdateKind::Progress(progress) => format!("{attempt} {} done", progress.done()),
        UpdateKind::Heartbeat => format!("{attempt} beat"),
        UpdateKind::Lagged(missed) => format!("{attempt} {missed} missed"),
    }
}

/// Receives what is queued, and asserts that the stream has ended.
fn to_end(updates: &mut Updates) -> Vec<String> {
    let received = received(updates);
    assert!(has_ended(updates));
    received
}

fn has_ended(updates: &mut Updates) -> bool {
    match updates.poll_recv(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => {
            assert_eq!(next, None);
            true
        }
        Poll::Pending => false,
    }
}

fn complete(part: Part) {
    part.end(End::Complete, |_, _| ());
}

// === the queue ===

/// `i` and a number is an item, `p` a report of progress, `h` a heartbeat.
fn update(text: &str) -> Update {
    let kind = match text.split_at(1) {
        ("i", item) => UpdateKind::Item(Arc::new(item.into())),
        ("p", done) => {
            let context = call().context().clone();
            context.progress(done.parse().expect("a number"), None, None);
            UpdateKind::Progress(context.last_progress().expect("reported above"))
        }
        _ => UpdateKind::Heartbeat,
    };
    Update { attempt: 1, kind }
}

#[test]
fn full_queue_drops_what_is_replaced_and_then_the_oldest() {
    let (three, four) = ("1 3 done", "1 4 done");
    for (pushed, left) in [
        ("i1 i2 p3 h", vec!["1 1", "1 2", three]),
        ("h i1 i2 h", vec!["1 beat", "1 1", "1 2"]),
        ("h i1 i2 i3", vec!["1 1", "1 2", "1 3"]),
        ("h i1 h i2 p3", vec!["1 1", "1 2", three]),
        ("p3 i1 i2 p4", vec!["1 1", "1 2", four]),
        ("p3 p4 i1 i2", vec![four, "1 1", "1 2"]),
        ("p3 i1 p4 h i2", vec!["1 1", four, "1 2"]),
        ("p3 i1 i2 i4", vec!["1 1 missed", "1 1", "1 2", "1 4"]),
        ("i1 i2 i3 p3", vec!["1 1 missed", "1 2", "1 3", three]),
        ("i1 p3 i2 i4 i5", vec!["1 2 missed", "1 2", "1 4", "1 5"]),
    ] {
        let mut queue = Queue::new(3);
        pushed.split(' ').for_each(|pushed| {
            queue.push(update(pushed));
        });
        let next = std::iter::from_fn(|| queue.pop());
        let next: Vec<_> = next.map(|update| text(&update)).collect();
        assert_eq!(next, left, "{pushed}");
        assert_eq!(queue.len(), 0);
    }
}

#[test]
fn missed_updates_are_counted_exactly() {
    for capacity in [0, 1, 2, 100, 999, 1_000, 1_001] {
        let call = call();
        let mut updates = call.updates_with_capacity(capacity);
        for round in 0..2 {
            (0..1_000).for_each(|item| call.context().emit(format!("{round}.{item}")));
            let first = 1_000 - capacity.clamp(1, 1_000);
            let missed = (first > 0).then(|| format!("1 {first} missed"));
            let items = (first..1_000).map(|item| format!("1 {round}.{item}"));
            let expected: Vec<_> = missed.into_iter().chain(items).collect();
            assert_eq!(received(&mut updates), expected);
        }
    }
}

// === the attempts ===

#[test]
fn all_that_is_published_comes_in_order() {
    let call = call();
    let mut updates = call.updates();
    let context = call.context();
    context.emit("a");
    context.heartbeat();
    context.snapshot("half");
    context.progress(5, 10, None);
    context.emit("b");
    context.checkpoint("c");
    context.progress(3, 10, None);
    let expected = [
        "1 a", "1 beat", "1 = half", "1 5 done", "1 b", "1 beat", "1 5 done",
    ];
    assert_eq!(received(&mut updates), expected);
    drop(call);
    assert_eq!(to_end(&mut updates), [""; 0]);
}

/// A setting makes another attempt of a call whose context is shared.
#[test]
fn settings_after_the_stream_is_taken_make_no_difference() {
    let call = call();
    let mut updates = call.updates();
    let shared = call.context().clone();
    let call = call.with_id("id").map_args(|()| 7).with_priority(1);
    let part = Part::enter(call.context());
    call.context().emit("a");
    assert_eq!(received(&mut updates), ["1 a"]);
    assert!(!has_ended(&mut updates));
    complete(part);
    assert_eq!(to_end(&mut updates), [""; 0]);
    drop(shared);
}

/// Each way in which the outermost part ends.
const ENDS: [fn(Part); 4] = [
    complete,
    |part| part.end(End::Failed(&mut ToolError::failed("no")), |_, _| ()),
    |part| part.end(End::Panicked, |_, _| ()),
    |part| part.end(End::Dropped(CancelReason::CallerGone), |_, _| ()),
];

#[test]
fn stream_ends_with_the_outermost_part_whatever_handles_are_left() {
    for end in ENDS {
        for is_held in [true, false] {
            let call = call();
            let mut updates = call.updates();
            let held = is_held.then(|| call.context().clone());
            let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
            drop(call);
            inner.context().emit("a");
            complete(inner);
            assert_eq!(received(&mut updates), ["1 a"]);
            assert!(!has_ended(&mut updates));
            end(outer);
            if let Some(held) = &held {
                held.emit("late");
            }
            assert_eq!(to_end(&mut updates), [""; 0]);
        }
    }
}

#[test]
fn stream_of_a_call_without_layers_ends_with_its_last_handle() {
    let call = call();
    let mut updates = call.updates();
    let context = call.context().clone();
    drop(call);
    assert!(!has_ended(&mut updates));
    context.emit("a");
    drop(context);
    assert_eq!(to_end(&mut updates), ["1 a"]);
}

#[test]
fn stream_has_all_attempts_made_of_the_call_and_ends_with_the_last() {
    let first = call();
    let mut updates = first.updates();
    let second = first.clone();
    let third = second.clone();
    for (call, end) in [first, second].into_iter().zip(ENDS) {
        let part = Part::enter(call.context());
        call.context().emit("a");
        end(part);
        assert_eq!(to_end(&mut call.updates()), [""; 0]);
    }
    assert_eq!(received(&mut updates), ["1 a", "2 a"]);
    assert!(!has_ended(&mut updates));
    // A clone that is never made.
    drop(third);
    assert_eq!(to_end(&mut updates), [""; 0]);
}

#[test]
fn attempt_made_within_layers_is_read_around_and_does_not_keep_the_stream_open() {
    let call = call();
    let outer = Part::enter(call.context());
    let early = call.clone();
    let mut updates = call.updates();
    let late = call.clone();
    let mut inside = late.updates();
    early.context().emit("a");
    late.context().emit("b");
    call.context().emit("c");
    assert_eq!(received(&mut updates), ["2 a", "3 b", "1 c"]);
    assert_eq!(received(&mut inside), ["3 b"]);
    complete(outer);
    late.context().emit("d");
    assert_eq!(to_end(&mut updates), [""; 0]);
    drop(late);
    assert_eq!(to_end(&mut inside), [""; 0]);
}

#[test]
fn clone_made_before_the_stream_is_not_in_it() {
    let call = call();
    let before = call.clone();
    let mut updates = call.updates();
    let part = Part::enter(call.context());
    before.context().emit("a");
    call.context().emit("b");
    complete(part);
    assert_eq!(to_end(&mut updates), ["1 b"]);
    before.context().emit("c");
}

#[test]
fn each_stream_receives_everything_that_comes_after_it() {
    let call = call();
    let mut streams = Vec::new();
    for item in ["a", "b", "c"] {
        streams.push(call.updates());
        call.context().emit(item);
    }
    let clone = call.clone();
    drop(call);
    clone.context().emit("d");
    drop(clone);
    let received = streams.iter_mut().map(to_end);
    let received: Vec<_> = received.map(|texts| texts.join(", ")).collect();
    assert_eq!(
        received,
        ["1 a, 1 b, 1 c, 2 d", "1 b, 1 c, 2 d", "1 c, 2 d"]
    );
}

#[test]
fn stream_taken_after_the_end_is_empty() {
    let call = call();
    complete(Part::enter(call.context()));
    assert_eq!(to_end(&mut call.updates()), [""; 0]);
}

#[test]
fn child_call_has_updates_of_its_own() {
    let parent = call();
    let mut of_parent = parent.updates();
    let child = parent.context().child("child", ()).expect("one level");
    let mut of_child = child.updates();
    child.context().emit("a");
    parent.context().emit("b");
    assert_eq!(received(&mut of_parent), ["1 b"]);
    drop(child);
    assert_eq!(to_end(&mut of_child), ["1 a"]);
}

// === readers ===

/// A content that counts its drop.
fn counted(drops: &Arc<AtomicUsize>) -> Content {
    struct Counted(Arc<AtomicUsize>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &[0; 100]
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    Content::data("a/b", Bytes::from_owner(Counted(Arc::clone(drops))))
}

#[test]
fn dropped_stream_frees_what_is_queued_and_queues_nothing_more() {
    let drops = Arc::<AtomicUsize>::default();
    let call = call();
    let updates = call.updates();
    (0..100).for_each(|_| call.context().emit(counted(&drops)));
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drop(updates);
    assert_eq!(drops.load(Ordering::SeqCst), 100);
    call.context().emit(counted(&drops));
    assert_eq!(drops.load(Ordering::SeqCst), 101);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn reader_that_waits_is_woken_once_by_an_update_and_by_the_end() {
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let call = call();
    let mut updates = call.updates();
    assert!(updates.poll_recv(&mut cx).is_pending());
    call.context().emit("a");
    call.context().emit("b");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_eq!(received(&mut updates), ["1 a", "1 b"]);
    assert!(updates.poll_recv(&mut cx).is_pending());
    drop(call);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
    assert_eq!(updates.poll_recv(&mut cx), Poll::Ready(None));
}

#[test]
fn threads_publish_to_one_stream_each_in_its_order() {
    const ITEMS: usize = 500;
    let call = call();
    let mut updates = call.updates_with_capacity(2 * ITEMS);
    let barrier = Arc::new(Barrier::new(2));
    let publish = |name: &'static str| {
        let (context, barrier) = (call.context().clone(), Arc::clone(&barrier));
        std::thread::spawn(move || {
            barrier.wait();
            (0..ITEMS).for_each(|item| context.emit(format!("{name}{item}")));
        })
    };
    let threads = [publish("a"), publish("b")];
    drop(call);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let all = to_end(&mut updates);
    assert_eq!(all.len(), 2 * ITEMS);
    for name in ["a", "b"] {
        let of_thread = all.iter().filter(|text| text[2..].starts_with(name));
        let expected = (0..ITEMS).map(|item| format!("1 {name}{item}"));
        assert!(of_thread.eq(&expected.collect::<Vec<_>>()), "{all:?}");
    }
}

// === shared contents ===

/// Where the texts of a content are in memory.
fn address(content: &Content) -> *const u8 {
    content.as_text().map(str::as_ptr).expect("a text")
}

#[test]
fn reader_and_partial_result_share_a_thousand_items_of_a_kilobyte() {
    let call = call();
    let mut updates = call.updates_with_capacity(1_000);
    let part = Part::enter(call.context());
    part.keep(KeepPolicy::new());
    let mut emitted = Vec::new();
    for _ in 0..1_000 {
        let content = Content::from("x".repeat(1_000));
        emitted.push(address(&content));
        call.context().emit(content);
    }
    let mut read = Vec::new();
    while let Some(update) = updates.try_recv() {
        let UpdateKind::Item(item) = update.kind else {
            unreachable!("{update:?}")
        };
        // The buffer has the other handle.
        assert_eq!(Arc::strong_count(&item), 2);
        read.push(address(&item));
    }
    assert_eq!(read, emitted);
    let mut error = ToolError::failed("no");
    part.end(End::Failed(&mut error), |_, _| ());
    let partial = error.partial().expect("items were emitted");
    let kept: Vec<_> = partial.contents().iter().map(address).collect();
    assert_eq!(kept, emitted);
}

#[test]
fn items_that_a_reader_keeps_are_copied_once_they_are_read_of_the_error() {
    let call = call();
    let mut updates = call.updates();
    let part = Part::enter(call.context());
    part.keep(KeepPolicy::new());
    call.context().emit("a");
    call.context().emit("b");
    call.context().snapshot("half");
    let first = updates.try_recv().expect("an item");
    let UpdateKind::Item(first) = first.kind else {
        unreachable!("{first:?}")
    };
    drop(updates);
    let mut error = ToolError::failed("no");
    part.end(End::Failed(&mut error), |_, _| ());
    let partial = error.partial().expect("items were emitted");
    assert_eq!(partial.text(), "a\nb");
    assert_eq!(Arc::strong_count(&first), 2);
    assert_eq!(partial.contents(), ["a".into(), "b".into()]);
    assert!(std::ptr::eq(partial.contents(), partial.contents()));
    assert_eq!(partial.snapshot(), Some(&"half".into()));
    assert_ne!(address(&partial.contents()[0]), address(&first));
    let json = serde_json::to_value(partial).expect("it is JSON");
    let read: Partial = serde_json::from_value(json).expect("a partial result");
    assert_eq!((&read, read.contents()), (partial, partial.contents()));
    let contents = error
        .into_partial()
        .expect("a partial result")
        .into_contents();
    assert_eq!(contents, read.into_contents());
    drop(call);
    assert_eq!(Arc::strong_count(&first), 1);
}

/// Publishes before a stream is taken, while it is, and after.
fn publish(context: &CallContext, takes_stream: bool) {
    context.emit("a");
    context.snapshot("1");
    let updates = takes_stream.then(|| context.updates());
    context.emit("b");
    context.emit("c");
    drop(updates);
    context.snapshot("2");
    context.emit("d");
}

#[test]
fn stream_makes_no_difference_to_what_is_kept() {
    let exact = KeepPolicy::new();
    for policy in [
        exact,
        exact.with_max_items(2),
        exact.with_max_items(2).with_drop_oldest(),
        exact.with_max_bytes(3).with_drop_oldest(),
        exact.with_max_items(0),
        exact.with_max_bytes(0),
    ] {
        let [with, without] = [true, false].map(|takes_stream| {
            let call = call();
            let part = Part::enter(call.context());
            part.keep(policy);
            publish(call.context(), takes_stream);
            let read = call.context().partial();
            let mut error = ToolError::failed("no");
            part.end(End::Failed(&mut error), |_, _| ());
            (read, error.into_partial())
        });
        assert_eq!(with, without, "{policy:?}");
        assert!(with.1.is_some());
    }
}

#[test]
fn snapshot_that_a_reader_shares_is_a_partial_result_alone() {
    let call = call();
    let mut updates = call.updates();
    let part = Part::enter(call.context());
    part.keep(KeepPolicy::new());
    call.context().snapshot("half");
    let mut error = ToolError::failed("no");
    part.end(End::Failed(&mut error), |_, _| ());
    let snapshot = error.partial().and_then(Partial::snapshot);
    assert_eq!(snapshot, Some(&"half".into()));
    assert_eq!(to_end(&mut updates), ["1 = half"]);
}

/// As of a client that connects again and again.
#[test]
fn readers_that_are_gone_take_no_memory() {
    let call = call();
    let mut updates = call.updates();
    for _ in 0..1_000 {
        drop(call.context().updates());
    }
    let attempt = format!("{:?}", call.context().attempt_state());
    // The last one is replaced by the next.
    assert_eq!(attempt.matches("Sender").count(), 2);
    call.context().emit("a");
    assert_eq!(received(&mut updates), ["1 a"]);
}
