//! How much is kept.

use toolbooth::Content;

use super::*;

/// Emits these texts, and fails: the texts kept, and how many were dropped.
async fn kept(layer: PartialResultLayer, pieces: &'static [&'static str]) -> (Vec<String>, u64) {
    let failed = failing(layer, move |context| {
        for piece in pieces {
            context.emit(*piece);
        }
    })
    .await;
    let partial = failed.into_partial().expect("something was published");
    let texts = texts(partial.contents())
        .into_iter()
        .map(str::to_owned)
        .collect();
    (texts, partial.dropped())
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn of_100_000_pieces_the_first_1024_are_kept_and_the_rest_is_counted() {
    let failed = failing(PartialResultLayer::new(), |context| {
        for piece in 0..100_000 {
            context.emit(piece.to_string());
        }
    })
    .await;
    let partial = failed.into_partial().unwrap();
    assert_eq!(
        (partial.contents().len(), partial.dropped()),
        (1_024, 98_976)
    );
    let first: Vec<_> = (0..1_024)
        .map(|piece| Content::from(piece.to_string()))
        .collect();
    assert_eq!(partial.contents(), first);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn of_100_000_pieces_the_newest_1024_are_kept_where_the_oldest_give_way() {
    let failed = failing(PartialResultLayer::new().with_drop_oldest(), |context| {
        for piece in 0..100_000 {
            context.emit(piece.to_string());
        }
    })
    .await;
    let partial = failed.into_partial().unwrap();
    assert_eq!(
        (partial.contents().len(), partial.dropped()),
        (1_024, 98_976)
    );
    assert_eq!(partial.contents()[0], Content::from("98976"));
    assert_eq!(partial.contents()[1_023], Content::from("99999"));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn one_mebibyte_is_kept_to_its_last_byte() {
    let failed = failing(PartialResultLayer::new(), |context| {
        for bytes in [1 << 19, 1 << 19, 1, 0] {
            context.emit("x".repeat(bytes));
        }
    })
    .await;
    let partial = failed.into_partial().unwrap();
    let sizes: Vec<_> = partial.contents().iter().map(Content::size).collect();
    // Behind the first piece that did not fit nothing is kept: a prefix has no gaps.
    assert_eq!((sizes, partial.dropped()), (vec![1 << 19, 1 << 19], 2));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn items_and_bytes_have_the_bounds_that_are_set() {
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let new = PartialResultLayer::new;
    assert_eq!(
        kept(new().with_max_items(2), &["a", "b", "c"]).await,
        (owned(&["a", "b"]), 1)
    );
    assert_eq!(
        kept(new().with_max_items(0), &["a", "b"]).await,
        (vec![], 2)
    );
    assert_eq!(
        kept(new().with_max_bytes(3), &["ab", "cd", "e"]).await,
        (owned(&["ab"]), 2)
    );
    assert_eq!(
        kept(new().with_max_bytes(3), &["ab", "c", ""]).await,
        (owned(&["ab", "c", ""]), 0)
    );
    assert_eq!(
        kept(new().with_max_bytes(0), &["a", "b"]).await,
        (vec![], 2)
    );

    let newest = || new().with_drop_oldest();
    assert_eq!(
        kept(newest().with_max_items(2), &["a", "b", "c"]).await,
        (owned(&["b", "c"]), 1)
    );
    assert_eq!(
        kept(newest().with_max_items(0), &["a", "b"]).await,
        (vec![], 2)
    );
    let tight = newest().with_max_bytes(3);
    assert_eq!(
        kept(tight.clone(), &["ab", "c", "de"]).await,
        (owned(&["c", "de"]), 1)
    );
    // What fits in no case gives way itself.
    assert_eq!(
        kept(tight, &["ab", "long", "c"]).await,
        (owned(&["ab", "c"]), 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn snapshot_beyond_the_bytes_is_not_kept_and_the_one_before_it_stays() {
    let failed = failing(PartialResultLayer::new().with_max_bytes(4), |context| {
        context.snapshot("50 %");
        context.snapshot("100 %");
    })
    .await;
    assert_eq!(
        failed.partial().unwrap().snapshot(),
        Some(&Content::from("50 %"))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn bounds_are_those_of_the_outermost_layer() {
    let tool = Probe::new(async |call| {
        for piece in ["a", "b", "c"] {
            call.context().emit(piece);
        }
        Err(BoxError::from("half way"))
    });
    let inner = PartialResultLayer::new().with_max_items(1).layer(tool);
    let stack = PartialResultLayer::new().with_max_items(2).layer(inner);
    let failed = error(stack.oneshot(call()).await);
    assert_eq!(texts(failed.partial().unwrap().contents()), ["a", "b"]);
    assert_eq!(failed.partial().unwrap().dropped(), 1);
}
