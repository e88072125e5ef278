//! Two requests with one id.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use toolbooth::{BoxError, Toolbox, tool_fn};
use toolbooth_mcp::McpServer;

use crate::raw::Raw;
use crate::support::{GENERATIONS, Noted, hanging};

pub(crate) fn slow() -> Result<McpServer, BoxError> {
    let slow = tool_fn("slow", async |_: ()| {
        sleep(Duration::from_secs(60)).await;
        Ok::<_, BoxError>("done")
    });
    let toolbox = Toolbox::builder().tool("slow", slow).build()?;
    Ok(McpServer::new(toolbox))
}

/// Asserts that this is the response to the second of two requests with the id 1.
pub(crate) fn assert_rejected(response: &Value) {
    let message = "a request with the id 1 is in flight: use another id";
    let error = json!({ "code": -32_600, "message": message });
    assert_eq!((&response["id"], &response["error"]), (&json!(1), &error));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_with_the_id_of_one_in_flight_is_rejected() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let mut client = Raw::connect(slow()?, generation).await;
        let begun = Instant::now();
        client.call(1, "slow", json!({})).await;
        client.call(1, "slow", json!({})).await;
        assert_rejected(&client.receive().await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // The first one goes on.
        let response = client.receive().await;
        assert_eq!(response["result"]["content"][0]["text"], "done");
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        // An id may be used again after its response.
        client.call(1, "slow", json!({})).await;
        assert_eq!(client.receive().await["result"]["isError"], false);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_with_the_id_of_a_cancelled_one_gets_its_own_response() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let (hang, mut notes) = hanging();
        let toolbox = Toolbox::builder().tool("hang", hang);
        let slow = tool_fn("slow", async |_: ()| Ok::<_, BoxError>("done"));
        let server = McpServer::new(toolbox.tool("slow", slow).build()?);
        let mut client = Raw::connect(server, generation).await;
        for _ in 0..50 {
            client.call(1, "hang", json!({})).await;
            assert_eq!(notes.recv().await, Some(Noted::Started));
            let id = json!({ "requestId": 1 });
            client.notify("notifications/cancelled", id).await;
            assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
            // Its handler may not have ended.
            client.call(1, "slow", json!({})).await;
            let response = client.receive().await;
            if response.get("error").is_some() {
                assert_rejected(&response);
            } else {
                assert_eq!(response["result"]["content"][0]["text"], "done");
            }
        }
    }
    Ok(())
}
