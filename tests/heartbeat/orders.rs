//! Idle limits in every order of the five layers.

use toolbooth_test::{GeneratorTool, HeartbeatTool};
use toolbooth_tests::{Kind, Layers, MINUTE};

use super::*;

#[tokio::test(start_paused = true)]
async fn beats_and_items_reset_the_idle_limit_in_every_order() {
    let layers = |limit| Layers {
        timeout: idle(limit),
        ..Layers::with(MINUTE, 100, 1)
    };
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let beats = |layers: &Layers| layers.stack(&order, boxed(HeartbeatTool::new()));
        assert_eq!(
            ended(beats(&layers(600)), call()).await,
            ok(2_000),
            "{case}"
        );
        let short = layers(599);
        let error = collected(beats(&short), call()).await.unwrap_err();
        assert_eq!(scope_of(&error), (IDLE, 599, 599), "{case}");
        let progress = error.partial().and_then(|partial| partial.progress());
        let message = progress.and_then(|last| last.message());
        assert_eq!(message, Some("item 0"), "{case}");
        short.assert_released(&case);

        let streams = |layers: &Layers| {
            let items = boxed(GeneratorTool::new(ms(200), 3));
            layers.stack(&order, items)
        };
        assert_eq!(
            ended(streams(&layers(200)), call()).await,
            ok(400),
            "{case}"
        );
        let short = layers(199);
        let error = collected(streams(&short), call()).await.unwrap_err();
        assert_eq!(scope_of(&error), (IDLE, 199, 199), "{case}");
        let partial = error.partial().expect(&case);
        assert_eq!(partial.contents(), GeneratorTool::items(1), "{case}");
        short.assert_released(&case);
    }
}
