//! Clients that read, that disconnect, and that stop reading.

use super::*;

const EVENTS: &str = "text/event-stream";

#[tokio::test]
async fn each_event_arrives_before_the_next_one_is_made() {
    let server = Server::start().await;
    for client in Polite::both() {
        let response = client.call(&server, "steps", EVENTS).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut body = response.into_body();
        for step in 0..5 {
            let expected =
                format!("event: item\ndata: {{\"type\":\"text\",\"text\":\"step {step}\"}}\n\n");
            assert_eq!(chunk(&mut body).await, expected);
            server.gate.add_permits(1);
        }
        drop(body);
        server.idle("after the fifth step").await;
        // The last step, if the tool did not make it.
        server.gate.forget_permits(1);
    }
}

#[tokio::test]
async fn client_that_disconnects_ends_its_call() {
    let server = Server::start().await;
    for accept in [EVENTS, "application/json"] {
        for client in Polite::both() {
            let case = format!("{accept}, http2 {}", client.http2);
            let calling = client.call(&server, "hangs", accept);
            let running = eventually("the call runs", || server.limit.in_flight() == 1);
            let response = tokio::select! {
                response = calling => Some(response),
                () = running => None,
            };
            drop(response);
            drop(client);
            server.idle(&case).await;
        }
    }
    eventually("each call cleans up", || server.cleanup.report().ran == 4).await;
}

#[tokio::test]
async fn client_that_stops_reading_ends_its_call() {
    let server = Server::with(|router| router.with_stall_timeout(Duration::from_millis(50))).await;
    for client in Polite::both() {
        let response = client.call(&server, "endless", EVENTS).await;
        assert_eq!(response.status(), 200);
        // What the connection buffers fills, then the queue, then an item waits.
        server.idle("the client does not read").await;
        let body = rest(response.into_body()).await;
        let text = String::from_utf8(body.into()).expect("a text");
        let last = text.trim_end().rsplit("\n\n").next().expect("an event");
        assert!(last.starts_with("event: error\n"), "{last}");
        assert!(last.contains("\"kind\":\"slow_client\""), "{last}");
    }
}
