//! Results of handlers as responses, and as text for a model.

use std::error::Error;
use std::io;

use serde::Serialize;
use serde_json::json;
use toolbooth::{Content, ErrorKind, IntoToolOutput, ToolOutput, tool_fn};
use tower::ServiceExt;

use crate::content_of;
use crate::support::{call, error_of};

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn result_becomes_text_json_or_the_output_itself() {
    #[derive(Clone, Serialize)]
    struct Found {
        lines: Vec<u32>,
    }
    /// The content of a handler that returns this value.
    macro_rules! content {
        ($value:expr) => {
            content_of(
                tool_fn("t", async |_: ()| Ok::<_, io::Error>($value)),
                call(),
            )
            .await
        };
    }
    assert_eq!(content!("found"), Content::from("found"));
    assert_eq!(content!("found".to_owned()), Content::from("found"));
    let json = |value| Content::Json(value);
    assert_eq!(
        content!(Found { lines: vec![3, 9] }),
        json(json!({ "lines": [3, 9] }))
    );
    assert_eq!(
        content!(json!({ "lines": [] })),
        json(json!({ "lines": [] }))
    );
    assert_eq!(content!(None::<u8>), json(json!(null)));

    let output = tool_fn("t", async |_: ()| {
        Ok::<_, io::Error>(ToolOutput::error("no such file").with_meta("cost", 3))
    });
    let output = output.oneshot(call()).await.unwrap();
    assert!(output.is_error());
    assert_eq!(output.meta().unwrap()["cost"], 3);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn result_that_does_not_serialize_is_a_failure_of_the_tool() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not serializable"))
        }
    }
    let tool = tool_fn("t", async |_: ()| Ok::<_, io::Error>(Never));
    let failed = error_of(tool, call()).await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(failed.source().unwrap().to_string(), "not serializable");
}

/// The text that a model reads for this value.
async fn text(value: impl IntoToolOutput) -> String {
    let output = value.into_tool_output().expect("it serializes");
    output.collect().await.expect("a response").text()
}

/// Case D3. The text of a result is its JSON; only `()` is no content.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_of_a_result_is_its_json() {
    #[derive(Serialize)]
    struct Hit {
        line: u32,
    }
    #[derive(Serialize)]
    struct Nothing;

    assert_eq!(text(42).await, "42");
    assert_eq!(text(true).await, "true");
    assert_eq!(text(Hit { line: 3 }).await, r#"{"line":3}"#);
    assert_eq!(text(vec!["a", "b"]).await, r#"["a","b"]"#);
    assert_eq!(text(Vec::<u8>::new()).await, "[]");
    assert_eq!(text(None::<Hit>).await, "null");
    assert_eq!(text("plain").await, "plain");
    for nothing in [().into_tool_output(), Nothing.into_tool_output()] {
        let collected = nothing.unwrap().collect().await.unwrap();
        assert_eq!(
            (collected.contents(), collected.text()),
            (&[][..], String::new())
        );
    }
}

/// Case D3. Each content is in the text, bytes by their type and length.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_of_mixed_contents_has_each_of_them() {
    let image = || Content::data("image/png", vec![0; 5]);
    let mixed = |contents: Vec<Content>| text(ToolOutput::contents(contents));
    assert_eq!(mixed(vec![image()]).await, "[image/png, 5 bytes]");
    assert_eq!(mixed(vec!["a".into(), "b".into()]).await, "ab");
    assert_eq!(
        mixed(vec![
            "a".into(),
            image(),
            json!(1).into(),
            json!(2).into(),
            "b".into()
        ])
        .await,
        "a\n[image/png, 5 bytes]\n1\n2\nb"
    );
    assert_eq!(
        mixed(vec!["a\n".into(), json!({}).into(), "\nb".into()]).await,
        "a\n{}\n\nb"
    );
    let failed = ToolOutput::json(json!({ "code": 7 })).with_is_error(true);
    assert_eq!(text(failed).await, r#"{"code":7}"#);
}
