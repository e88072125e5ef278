//! What layers trace: what they decided, about which call, and nothing of its arguments or results.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer,
    ToolCall, tool_fn,
};
use tower::{Layer, ServiceExt};
use tracing_subscriber::fmt::MakeWriter;

/// Lines of what was traced on this thread.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no panic under it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Traced {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Traced {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let traced = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(traced.clone())
            .finish();
        (traced, tracing::subscriber::set_default(subscriber))
    }

    /// The lines so far, each checked to say nothing of arguments or results.
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

#[tokio::test(start_paused = true)]
async fn a_limit_that_strikes_is_traced() {
    let (traced, _guard) = Traced::start();
    let slow = tool_fn("tool", async |_: String| {
        sleep(Duration::from_secs(9)).await;
        Ok::<_, io::Error>("secret")
    });
    let tool = TimeoutLayer::new(Duration::from_secs(2)).layer(slow);
    tool.clone().oneshot(call()).await.unwrap_err();
    assert_eq!(
        traced.lines(),
        [r#"DEBUG timed out tool="tool" call_id=call_7 scope=total limit=2s waited=2s"#]
    );
    tool.clone()
        .oneshot(call().with_deadline(Instant::now()))
        .await
        .unwrap_err();
    assert_eq!(
        traced.lines(),
        [
            r#"DEBUG refused: the deadline has passed tool="tool" call_id=call_7 limit=0ns waited=0ns"#
        ]
    );
    tool.oneshot(call().with_timeout(Duration::MAX))
        .await
        .unwrap();
    assert_eq!(traced.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_traced() {
    let (traced, _guard) = Traced::start();
    let slow = tool_fn("tool", async |_: String| {
        sleep(Duration::from_secs(9)).await;
        Ok::<_, io::Error>("secret")
    });
    let impatient = ConcurrencyLimitLayer::new(1).with_max_wait(Duration::from_secs(2));
    let tool = impatient.layer(slow.clone());
    let (first, second) = tokio::join!(tool.clone().oneshot(call()), tool.oneshot(call()));
    assert!(first.is_ok() && second.is_err());
    let hourly = Quota::per_hour(NonZeroU32::MIN);
    let tool = RateLimitLayer::new(hourly).reject().layer(slow);
    tool.clone().oneshot(call()).await.unwrap();
    tool.oneshot(call()).await.unwrap_err();
    assert_eq!(
        traced.lines(),
        [
            r#"DEBUG rejected tool="tool" call_id=call_7 limit="concurrency" waited=2s rejection=WaitedTooLong(2s)"#,
            r#"DEBUG rejected tool="tool" call_id=call_7 limit="rate" waited=0ns rejection=TooLate(3591s)"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_that_fail_or_are_abandoned_are_traced() {
    let (traced, _guard) = Traced::start();
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
        traced.lines(),
        [
            r#"WARN a cleanup hook failed tool=tool call_id=call_7 limit=5s failure="stopped at its limit""#,
            r#"WARN a cleanup hook failed tool=tool call_id=call_7 limit=5s failure="panicked""#,
            r#"WARN cleanup hooks were abandoned tool=tool call_id=call_7 hooks=2"#,
        ]
    );
}
