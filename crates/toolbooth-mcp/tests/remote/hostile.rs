//! Servers that no library would write.

use serde_json::json;
use toolbooth::BoxError;
use toolbooth_mcp::RemoteError;

use crate::{call, program, remote};

#[tokio::test]
async fn lines_that_are_not_messages_are_ignored() -> Result<(), BoxError> {
    let server = program("noise").connect().await?;
    assert_eq!(
        call(&server, "a", json!({})).await?.text(),
        "after the noise"
    );
    Ok(())
}

#[tokio::test]
async fn a_response_that_cannot_be_used_fails_its_call_alone() -> Result<(), BoxError> {
    for (script, expected) in [
        ("huge", "returned a message of more than 16777216 bytes"),
        (
            "huge-id-last",
            "returned a message of more than 16777216 bytes",
        ),
        (
            "deep",
            "returned a message that is invalid: recursion limit exceeded",
        ),
        (
            "another-result",
            "returned something else than the result of a tool",
        ),
    ] {
        let server = program(script).connect().await?;
        for _ in 0..2 {
            let error = call(&server, "a", json!({}))
                .await
                .err()
                .ok_or("unusable")?;
            let error = remote(&error);
            assert!(matches!(error, RemoteError::Malformed { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert_eq!(server.status().restarts, 0, "the connection stays");
    }
    Ok(())
}

#[tokio::test]
async fn responses_of_other_shapes_are_read_as_far_as_possible() -> Result<(), BoxError> {
    let server = program("wrong-id").connect().await?;
    assert_eq!(call(&server, "a", json!({})).await?.text(), "the right one");
    let server = program("empty").connect().await?;
    assert_eq!(call(&server, "a", json!({})).await?.contents(), []);
    // Its fields are those of what a user has entered, too.
    let server = program("like-another").connect().await?;
    assert_eq!(call(&server, "a", json!({})).await?.text(), "a");
    let server = program("unknown-block").connect().await?;
    let output = call(&server, "a", json!({})).await?;
    assert!(output.is_error());
    let hologram = json!({ "type": "hologram", "x": 1 });
    assert_eq!(output.contents(), ["a".into(), hologram.into()]);
    Ok(())
}

#[tokio::test]
async fn a_list_that_cannot_be_used_is_an_error() -> Result<(), BoxError> {
    for (script, expected) in [
        ("same-page", "the list repeats the page `again`"),
        ("endless", "the list has more than 1000 pages"),
        ("many", "there are more than 10000"),
        ("large", "they have more than 33554432 bytes"),
        ("twice", "two of them have the same name"),
        (
            "control",
            "a name is empty, longer than 128 bytes, or has control characters",
        ),
    ] {
        let error = program(script).connect().await.err().ok_or("unusable")?;
        assert!(matches!(error, RemoteError::Tools { .. }), "{error:?}");
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    Ok(())
}
