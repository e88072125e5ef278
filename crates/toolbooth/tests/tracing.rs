//! What layers log: their decisions and the call, and nothing of its arguments or results.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer,
    ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::{Layer, Service, ServiceExt};
use tracing_subscriber::fmt::MakeWriter;

/// The lines logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic under it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(logged.clone())
            .finish();
        (logged, tracing::subscriber::set_default(subscriber))
    }

    /// Takes the lines so far, and asserts that they hold no arguments and no results.
    fn lines(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic under it"));
        let text = String::from_utf8(bytes).expect("text");
        assert!(!text.contains("secret"), "{text}");
        text.lines()
            .map(|line| line.trim_start().to_owned())
            .collect()
    }
}

fn call() -> ToolCall {
    ToolCall::new("tool", json!("secret")).with_id("call_7")
}

/// A tool that runs for 9 s.
fn slow() -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {
    tool_fn("tool", async |_: String| {
        sleep(Duration::from_secs(9)).await;
        Ok::<_, io::Error>("secret")
    })
}

#[tokio::test(start_paused = true)]
async fn expired_limits_are_logged() {
    let (logged, _guard) = Logged::start();
    let tool = TimeoutLayer::new(Duration::from_secs(2)).layer(slow());
    tool.clone().oneshot(call()).await.unwrap_err();
    let expected = r#"DEBUG timed out tool="tool" call_id=call_7 layer=timeout scope=total limit=2s waited=2s"#;
    assert_eq!(logged.lines(), [expected]);
    let late = call().with_deadline(Instant::now());
    tool.clone().oneshot(late).await.unwrap_err();
    assert_eq!(
        logged.lines(),
        [
            r#"DEBUG rejected: the deadline has passed tool="tool" call_id=call_7 layer=timeout limit=0ns waited=0ns"#
        ]
    );
    tool.oneshot(call().with_timeout(Duration::MAX))
        .await
        .unwrap();
    assert_eq!(logged.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn rejections_are_logged() {
    let (logged, _guard) = Logged::start();
    let impatient = ConcurrencyLimitLayer::new(1).with_max_wait(Duration::from_secs(2));
    let tool = impatient.layer(slow());
    let (first, second) = tokio::join!(tool.clone().oneshot(call()), tool.oneshot(call()));
    assert!(first.is_ok() && second.is_err());
    let hourly = Quota::per_hour(NonZeroU32::MIN);
    let tool = RateLimitLayer::new(hourly).reject().layer(slow());
    tool.clone().oneshot(call()).await.unwrap();
    tool.oneshot(call()).await.unwrap_err();
    assert_eq!(
        logged.lines(),
        [
            r#"DEBUG rejected tool="tool" call_id=call_7 layer=concurrency waited=2s rejection=WaitedTooLong(2s)"#,
            r#"DEBUG rejected tool="tool" call_id=call_7 layer=rate waited=0ns rejection=TooLate(3591s)"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn new_keys_that_share_a_limit_are_logged_once_a_minute() {
    let (logged, _guard) = Logged::start();
    let tenant = |call: &CallContext| call.tenant().unwrap_or_default().into();
    let limit = ConcurrencyLimitLayer::by(9, tenant).with_key_bounds(0, Duration::ZERO);
    let mut tool = limit.layer(slow());
    for (after, warnings) in [(0, 1), (0, 0), (59_999, 0), (1, 1)] {
        sleep(Duration::from_millis(after)).await;
        // It takes the permit, and is dropped.
        drop(tool.call(call().with_tenant("secret")));
        let expected = r#"WARN all keys of a limit are in use: new keys share one limit tool="tool" call_id=call_7 keys=0"#;
        assert_eq!(logged.lines(), vec![expected; warnings]);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_and_abandoned_hooks_are_logged() {
    let (logged, _guard) = Logged::start();
    let cleanup = CleanupLayer::new();
    let tool = cleanup.layer(tool_fn("tool", async |call: CallContext, _: String| {
        call.on_cleanup(|_| async { std::panic::resume_unwind(Box::new("secret")) });
        call.on_cleanup(|_| sleep(Duration::from_secs(9)));
        Ok::<_, io::Error>("secret")
    }));
    tool.clone().oneshot(call()).await.unwrap();
    cleanup.drain(Duration::from_secs(60)).await;
    tool.oneshot(call()).await.unwrap();
    cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!(
        logged.lines(),
        [
            r#"WARN a cleanup hook failed tool=tool call_id=call_7 limit=5s failure="stopped at its limit""#,
            r#"WARN a cleanup hook failed tool=tool call_id=call_7 limit=5s failure="panicked""#,
            r#"WARN cleanup hooks were abandoned tool=tool call_id=call_7 hooks=2"#,
        ]
    );
}
