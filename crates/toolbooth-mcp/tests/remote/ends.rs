//! Servers that end, and connections that are set up again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use toolbooth::{BoxError, ErrorKind, ToolCall};
use toolbooth_mcp::{RemoteError, RemoteServer};
use tower::ServiceExt as _;

use crate::upstream::{Upstream, serve, serve_at};
use crate::{LONG, MARK, alive, call, eventually, program, remote, tool};

#[tokio::test]
async fn a_server_that_dies_fails_its_calls_at_once_and_is_back_for_the_next()
-> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(tool(&server, "hang").oneshot(ToolCall::new("hang", json!({})))))
        .collect();
    eventually("all are in flight", || server.status().in_flight == 100).await;
    let began = Instant::now();
    let died = call(&server, "die", json!({}))
        .await
        .err()
        .ok_or("it dies")?;
    for hanging in calls {
        let error = hanging.await?.err().ok_or("its server died")?;
        let RemoteError::Ended {
            status: Some(status),
            stderr,
            ..
        } = remote(&error)
        else {
            panic!("{error:?}");
        };
        assert_eq!(
            (&**status, &**stderr),
            ("exit status: 3", "a first line\nout of luck")
        );
        assert_eq!(
            (error.is_retryable(), error.is_outage(), error.started()),
            (false, true, true)
        );
        assert_eq!(error.public_message(), "the tool failed");
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let text = remote(&died).to_string();
    let expected = "the server `program` ended with exit status: 3; its last lines: \
                    a first line\nout of luck";
    assert_eq!(text, expected);
    assert!(server.stderr_tail().ends_with("out of luck\n"));

    assert_eq!(call(&server, "echo", json!({})).await?.text(), "{}");
    let status = server.status();
    assert_eq!((status.is_connected, status.restarts), (true, 1));
    assert!(matches!(status.last_error, Some(RemoteError::Ended { .. })));
    Ok(())
}

#[tokio::test]
async fn a_server_that_keeps_dying_is_away_for_the_backoff() -> Result<(), BoxError> {
    let wait = Duration::from_secs(1_000);
    let server = program("new").with_backoff(wait, wait).connect().await?;
    for _ in 0..2 {
        call(&server, "die", json!({}))
            .await
            .err()
            .ok_or("it dies")?;
    }
    let away = call(&server, "echo", json!({}))
        .await
        .err()
        .ok_or("it is away")?;
    assert_eq!(
        (away.kind(), away.started()),
        (ErrorKind::CircuitOpen, false)
    );
    let after = away.retry_after().ok_or("the backoff")?;
    assert!((wait / 3..=wait).contains(&after), "{after:?}");
    let RemoteError::Away { source, .. } = remote(&away) else {
        panic!("{away:?}");
    };
    assert!(matches!(**source, RemoteError::Ended { .. }));
    let status = server.status();
    assert!(!status.is_connected && status.retry_after.is_some());
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_server_that_is_closed_or_dropped() -> Result<(), BoxError> {
    for is_closed in [true, false] {
        let mark = format!("{}-{is_closed}", std::process::id());
        // A shell that stays beside the server, and ignores SIGTERM.
        let this = std::env::current_exe()?;
        let script = "trap '' TERM; sleep 1000 & \"$0\" \"$@\"; wait";
        let server = RemoteServer::stdio("sh")
            .with_args(["-c", script])
            .with_arg(this)
            .with_args(["--exact", "is_a_server_if_asked", "--nocapture"])
            .with_env(crate::SERVER, "new")
            .with_env(MARK, &mark)
            .connect()
            .await?;
        assert_eq!(call(&server, "echo", json!({})).await?.text(), "{}");
        eventually("the shell, the server and sleep run", || alive(&mark) >= 3).await;
        let hanging = tokio::spawn(tool(&server, "hang").oneshot(ToolCall::new("hang", json!({}))));
        eventually("it is in flight", || server.status().in_flight == 1).await;
        if is_closed {
            timeout(LONG, server.close()).await?;
            assert_eq!(alive(&mark), 0);
            let error = hanging.await?.err().ok_or("it was closed")?;
            assert!(
                matches!(remote(&error), RemoteError::Closed { .. }),
                "{error:?}"
            );
            let later = call(&server, "echo", json!({}))
                .await
                .err()
                .ok_or("it is closed")?;
            assert!(matches!(remote(&later), RemoteError::Closed { .. }));
            assert!(!later.started());
        } else {
            hanging.abort();
            drop((server, hanging.await));
            eventually("all have ended", || alive(&mark) == 0).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_no_server_fails_with_its_last_lines() -> Result<(), BoxError> {
    let error = program("exits:no such table")
        .connect()
        .await
        .err()
        .ok_or("it exits")?;
    let RemoteError::Ended {
        status: Some(status),
        stderr,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(&**status, "exit status: 0");
    assert!(stderr.contains("no such table"), "{stderr}");

    let missing = RemoteServer::stdio("/no/such/program").connect().await;
    let missing = missing.err().ok_or("it is missing")?;
    assert!(
        matches!(missing, RemoteError::NotStarted { .. }),
        "{missing:?}"
    );

    let limit = Duration::from_millis(300);
    let mute = program("mute").with_connect_timeout(limit).connect().await;
    let mute = mute.err().ok_or("it is mute")?;
    assert!(matches!(mute, RemoteError::ConnectTimeout { limit: expired, .. } if expired == limit));
    Ok(())
}

#[tokio::test]
async fn a_session_that_the_server_has_lost_is_a_new_one() -> Result<(), BoxError> {
    for upstream in [Upstream::old, Upstream::default] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let first = CancellationToken::new();
        let url = serve_at(listener, upstream(), first.clone());
        let server = RemoteServer::http(url).connect().await?;
        assert_eq!(call(&server, "echo", json!({})).await?.text(), "{}");
        first.cancel();
        // The port is free once the first server has ended.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let second = upstream();
        let seen = Arc::clone(&second.seen);
        let ct = CancellationToken::new();
        serve_at(listener, second, ct.clone());
        assert_eq!(call(&server, "echo", json!({})).await?.text(), "{}");
        assert_eq!(seen.started.load(Ordering::SeqCst), 1, "called once");
        ct.cancel();
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_found_again() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let ct = CancellationToken::new();
    let url = serve_at(listener, Upstream::default(), ct.clone());
    let backoff = Duration::from_millis(20);
    let server = RemoteServer::http(url)
        .with_backoff(backoff, backoff)
        .connect()
        .await?;
    ct.cancel();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let error = call(&server, "echo", json!({}))
            .await
            .err()
            .ok_or("it is away")?;
        assert!(!error.started(), "{error:?}");
        kinds.push(error.kind());
    }
    assert!(kinds.contains(&ErrorKind::CircuitOpen), "{kinds:?}");
    let ct = CancellationToken::new();
    serve_at(
        TcpListener::bind(address).await?,
        Upstream::default(),
        ct.clone(),
    );
    let back = timeout(LONG, async {
        loop {
            match call(&server, "echo", json!({})).await {
                Ok(output) => break output.text(),
                Err(error) => {
                    let after = error.retry_after().unwrap_or_default();
                    tokio::time::sleep(after.max(Duration::from_millis(1))).await;
                }
            }
        }
    });
    assert_eq!(back.await?, "{}");
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn secrets_are_in_no_error_and_no_debug_output() -> Result<(), BoxError> {
    let ct = CancellationToken::new();
    let url = serve(Upstream::default(), ct.clone()).await;
    let builder = RemoteServer::http(&url)
        .with_bearer("hunter2")
        .with_header("x-key", "hunter3");
    let shown = format!("{builder:?}");
    let server = builder.connect().await?;
    let shown = format!("{shown}{server:?}");
    assert!(!shown.contains("hunter"), "{shown}");
    ct.cancel();
    let unusable = [
        RemoteServer::http(&url).with_bearer("hunter\n2"),
        RemoteServer::http(&url).with_header("x-key", "hunter\n3"),
        RemoteServer::http(&url).with_header("Mcp-Session-Id", "hunter4"),
        RemoteServer::http(&url).with_arg("hunter5"),
        RemoteServer::http("ftp://hunter:6@localhost/"),
        RemoteServer::http("http://hunter:7@localhost:1/x y"),
        RemoteServer::stdio("sh").with_bearer("hunter8"),
    ];
    for builder in unusable {
        let error = builder.connect().await.err().ok_or("unusable")?;
        assert!(matches!(error, RemoteError::Setting { .. }), "{error:?}");
        assert!(
            !format!("{error:?} {error}").contains("hunter"),
            "{error:?}"
        );
    }
    let refused = RemoteServer::http("http://hunter:9@127.0.0.1:1/mcp")
        .connect()
        .await;
    let refused = refused.err().ok_or("nothing listens there")?;
    assert!(
        matches!(refused, RemoteError::Unreachable { .. }),
        "{refused:?}"
    );
    let mut text = format!("{refused:?} {refused}");
    let mut source = std::error::Error::source(&refused);
    while let Some(error) = source {
        text = format!("{text} {error:?} {error}");
        source = error.source();
    }
    assert!(!text.contains("hunter"), "{text}");
    Ok(())
}

/// A backoff for tests that connect again and again.
const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn the_generation_of_a_server_is_known_when_it_is_connected_again() -> Result<(), BoxError> {
    let server = program("tells-methods")
        .with_backoff(SHORT, SHORT)
        .connect()
        .await?;
    let rest = "initialize notifications/initialized tools/list tools/call";
    let first = call(&server, "a", json!({})).await?;
    assert_eq!(first.text(), format!("server/discover {rest}"));
    for _ in 0..2 {
        let died = call(&server, "a", json!({ "die": true })).await;
        assert!(died.is_err());
        let call = eventually_called(&server).await?;
        assert_eq!(call, rest);
    }
    Ok(())
}

#[tokio::test]
async fn the_generation_of_a_server_that_cannot_be_connected_again_is_forgotten()
-> Result<(), BoxError> {
    let server = program("needs-discover")
        .with_backoff(SHORT, SHORT)
        .connect()
        .await?;
    assert!(call(&server, "a", json!({ "die": true })).await.is_err());
    let failed = call(&server, "a", json!({}))
        .await
        .err()
        .ok_or("a failure")?;
    assert_eq!(failed.kind(), ErrorKind::CircuitOpen);
    let methods = eventually_called(&server).await?;
    assert!(
        methods.starts_with("server/discover initialize"),
        "{methods}"
    );
    Ok(())
}

/// Calls the tool until the backoff is over.
async fn eventually_called(server: &RemoteServer) -> Result<String, BoxError> {
    let called = timeout(LONG, async {
        loop {
            match call(server, "a", json!({})).await {
                Ok(output) => return Ok(output.text()),
                Err(error) if error.kind() == ErrorKind::CircuitOpen => {
                    tokio::time::sleep(error.retry_after().unwrap_or_default()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    });
    called.await?
}
