//! Bounds on the items and bytes that are kept.

use toolbooth::Content;

use super::*;

/// The texts kept of a tool that emits `items` and fails, and how many were dropped.
async fn kept_of(layer: PartialResultLayer, items: &'static [&'static str]) -> (Vec<String>, u64) {
    let failed = failing(layer, move |context| {
        items.iter().for_each(|item| context.emit(*item));
    })
    .await;
    let (texts, dropped, _) = kept(&failed);
    (texts.into_iter().map(str::to_owned).collect(), dropped)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn default_keeps_1024_items_and_counts_the_others() {
    let keep_first = PartialResultLayer::new();
    let keep_last = PartialResultLayer::new().with_drop_oldest();
    for (layer, first) in [(keep_first, 0), (keep_last, 100_000 - 1_024)] {
        let failed = failing(layer, |context| {
            for item in 0..100_000 {
                context.emit(item.to_string());
            }
        })
        .await;
        let partial = failed.into_partial().unwrap();
        let expected: Vec<_> = (first..first + 1_024)
            .map(|item| Content::from(item.to_string()))
            .collect();
        assert!(partial.contents() == expected, "not the items from {first}");
        assert_eq!(partial.dropped(), 98_976);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn default_keeps_one_mebibyte_to_its_last_byte() {
    let failed = failing(PartialResultLayer::new(), |context| {
        for bytes in [1 << 19, 1 << 19, 1, 0] {
            context.emit("x".repeat(bytes));
        }
    })
    .await;
    let partial = failed.into_partial().unwrap();
    let sizes: Vec<_> = partial.contents().iter().map(Content::size).collect();
    // A prefix has no gaps: nothing is kept after the first item that did not fit.
    assert_eq!((sizes, partial.dropped()), (vec![1 << 19, 1 << 19], 2));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn items_and_bytes_have_the_bounds_that_are_set() {
    let first = PartialResultLayer::new;
    let last = || PartialResultLayer::new().with_drop_oldest();
    let cases: [(_, &[&str], &[&str], u64); 9] = [
        (first().with_max_items(2), &["a", "b", "c"], &["a", "b"], 1),
        (first().with_max_items(0), &["a", "b"], &[], 2),
        (first().with_max_bytes(3), &["ab", "cd", "e"], &["ab"], 2),
        (
            first().with_max_bytes(3),
            &["ab", "c", ""],
            &["ab", "c", ""],
            0,
        ),
        (first().with_max_bytes(0), &["a", "b"], &[], 2),
        (last().with_max_items(2), &["a", "b", "c"], &["b", "c"], 1),
        (last().with_max_items(0), &["a", "b"], &[], 2),
        (
            last().with_max_bytes(3),
            &["ab", "c", "de"],
            &["c", "de"],
            1,
        ),
        // An item that is larger than the bound is dropped itself.
        (
            last().with_max_bytes(3),
            &["ab", "long", "c"],
            &["ab", "c"],
            1,
        ),
    ];
    for (layer, items, texts, dropped) in cases {
        let expected = texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            kept_of(layer, items).await,
            (expected, dropped),
            "{items:?}"
        );
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn snapshot_larger_than_the_bound_leaves_the_one_before_it() {
    let failed = failing(PartialResultLayer::new().with_max_bytes(4), |context| {
        context.snapshot("50 %");
        context.snapshot("100 %");
    })
    .await;
    let snapshot = failed.partial().unwrap().snapshot();
    assert_eq!(snapshot, Some(&Content::from("50 %")));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn bounds_are_those_of_the_outermost_layer() {
    let tool = ScriptedTool::new(async |call| {
        for item in ["a", "b", "c"] {
            call.context().emit(item);
        }
        Err(BoxError::from("half way"))
    });
    let inner = PartialResultLayer::new().with_max_items(1).layer(tool);
    let stack = PartialResultLayer::new().with_max_items(2).layer(inner);
    assert_eq!(kept(&error_of(stack, call()).await), (vec!["a", "b"], 1, 0));
}
