//! Lines into a server over pipes.

use std::collections::HashMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rmcp::model::RequestId;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{sleep, timeout};

use crate::envelope::{cancelled, request, response};
use crate::fuzz;
use crate::message::{Text, initialize, message, to_text};
use crate::server::{LONG, Server};

#[derive(Debug, Clone)]
enum Step {
    Line(Text),
    Wait(u64),
}

/// What was sent with one id.
#[derive(Default)]
struct Sent {
    requests: usize,
    /// Whether the client may get no response: it has cancelled the request, or subscribed.
    may_be_silent: bool,
}

fn steps() -> impl Strategy<Value = (bool, Vec<Step>)> {
    let step = prop_oneof![
        6 => message().prop_map(|line| Step::Line(Text(line))),
        1 => (0_u64..2_000).prop_map(Step::Wait),
    ];
    (any::<bool>(), vec(step, 0..12))
}

#[test]
fn each_request_over_pipes_gets_one_response_or_its_connection_ends() {
    fuzz("stdio", 4, &steps(), async |(begins, steps)| {
        let server = Server::new();
        let mut sent = Vec::new();
        if begins {
            sent.extend(to_text(&initialize()));
            sent.push(b'\n');
        }
        let (ours, theirs) = tokio::io::duplex(1 << 12);
        let (input, output) = tokio::io::split(theirs);
        let (reader, mut writer) = tokio::io::split(ours);
        let served = server.server.clone();
        let serving = tokio::spawn(async move {
            if let Ok(running) = served.serve_pipes(input, output).await {
                let _ = running.waiting().await;
            }
        });
        let reading = tokio::spawn(received(reader));
        let mut is_open = writer.write_all(&sent).await.is_ok();
        for step in steps {
            match step {
                Step::Line(Text(mut line)) => {
                    line.push(b'\n');
                    let write = timeout(LONG, writer.write_all(&line)).await;
                    is_open &= write.is_ok_and(|written| written.is_ok());
                    sent.extend(line);
                }
                Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            }
        }
        sleep(LONG).await;
        is_open &= !serving.is_finished();
        prop_assert_eq!(server.running(), 0, "calls run on");
        let _ = writer.shutdown().await;
        let ended = timeout(LONG, serving).await;
        prop_assert!(ended.is_ok_and(|ended| ended.is_ok()), "the server runs on");
        let received = timeout(LONG, reading).await;
        let Ok(Ok(received)) = received else {
            return Err(TestCaseError::fail("the output does not end"));
        };
        check(&sent, &received?, is_open)?;
        server.ended().await
    });
}

/// Reads all messages of the server.
async fn received(reader: impl tokio::io::AsyncRead + Unpin) -> Result<Vec<Value>, TestCaseError> {
    let mut lines = BufReader::new(reader).lines();
    let mut messages = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let message = serde_json::from_str(&line);
        messages.push(message.map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?);
    }
    Ok(messages)
}

fn check(sent: &[u8], received: &[Value], is_open: bool) -> Result<(), TestCaseError> {
    let mut by_id: HashMap<RequestId, Sent> = HashMap::new();
    for line in sent.split(|byte| *byte == b'\n') {
        if let Some(request) = request(line) {
            let sent = by_id.entry(request.id).or_default();
            sent.requests += 1;
            sent.may_be_silent |= request.is_subscription || !request.is_valid;
        }
        if let Some(id) = cancelled(line) {
            by_id.entry(id).or_default().may_be_silent = true;
        }
    }
    let mut responses: HashMap<RequestId, usize> = HashMap::new();
    for message in received {
        let Some(id) = response(message) else {
            prop_assert!(message["method"].is_string(), "{message}");
            continue;
        };
        if id.is_null() {
            prop_assert!(message.get("error").is_some(), "{message}");
            continue;
        }
        let id: RequestId = serde_json::from_value(id).expect("an id");
        *responses.entry(id).or_default() += 1;
    }
    for (id, sent) in &by_id {
        let responses = responses.remove(id).unwrap_or_default();
        prop_assert!(responses <= sent.requests, "{id}: {responses} responses");
        let must_respond = is_open && sent.requests > 0 && !sent.may_be_silent;
        prop_assert!(
            responses == sent.requests || !must_respond,
            "{responses} responses to {} requests with the id {id}",
            sent.requests
        );
    }
    prop_assert!(
        responses.is_empty(),
        "responses to no request: {responses:?}"
    );
    Ok(())
}
