//! `TracingSink`: the level and the fields of each event, as its docs list them.

use std::fmt::Write as _;

use toolbooth::events::{EventSink, TracingSink};
use toolbooth::middleware::LayerName;
use toolbooth::{CancelReason, ErrorKind, Event, EventKind, LimitChange, ToolError};

use crate::recorded::Recorded;
use crate::support::ms;

const BREAKER: LayerName = LayerName::new("breaker");
const RATE: LayerName = LayerName::new("rate");

fn breaker(to: &'static str) -> EventKind {
    EventKind::BreakerChanged {
        layer: BREAKER,
        key: Some("db\n".into()),
        from: "half_open",
        to,
        why: "by_hand".into(),
    }
}

fn limit(change: LimitChange) -> EventKind {
    EventKind::LimitChanged {
        layer: RATE,
        change,
    }
}

const fn completed(is_error: bool) -> EventKind {
    EventKind::Completed {
        is_error,
        contents: None,
    }
}

fn kinds() -> Vec<EventKind> {
    vec![
        EventKind::Queued { layer: RATE },
        EventKind::Admitted {
            layer: RATE,
            waited: ms(5),
        },
        EventKind::Retry {
            attempt: 2,
            after: ms(5),
            error: Some(ErrorKind::Timeout),
            layer: Some(RATE),
            error_type: Some("timeout".into()),
        },
        EventKind::Expired {
            layer: LayerName::new("timeout"),
            limit: ms(5),
        },
        completed(false),
        completed(true),
        EventKind::Failed {
            error: None,
            error_type: "503".into(),
        },
        EventKind::Cancelled {
            reason: CancelReason::CallerGone,
            started: true,
            error: None,
        },
        EventKind::Rejected {
            layer: Some(RATE),
            why: ErrorKind::RateLimited,
            retry_after: Some(ms(5)),
            error: ToolError::failed("limited"),
        },
        EventKind::Panicked { error: None },
        EventKind::CleanupStarted { hooks: 2 },
        EventKind::CleanupFinished { took: ms(5) },
        EventKind::CleanupFailed {
            took: ms(5),
            panicked: true,
        },
        EventKind::CleanupAbandoned { hooks: 2 },
        breaker("open"),
        breaker("closed"),
        limit(LimitChange::Set {
            key: Some("acme".into()),
            limit: None,
        }),
        limit(LimitChange::Queue {
            setting: "order",
            value: Some("fifo".into()),
        }),
        limit(LimitChange::Overflow { keys: 9 }),
    ]
}

const EXPECTED: &str = r#"
DEBUG tool.queued layer=rate
DEBUG tool.admitted layer=rate waited=5ms
INFO tool.retry after=5ms attempt=2 error.type=timeout layer=rate
DEBUG tool.expired layer=timeout limit=5ms
DEBUG tool.completed
INFO tool.completed error.type=tool_error
WARN tool.failed error.type=503
INFO tool.cancelled reason=caller_gone started=true
INFO tool.rejected error.type=rate_limited layer=rate retry_after=5ms
ERROR tool.panicked
DEBUG cleanup.started hooks=2
DEBUG cleanup.finished took=5ms
WARN cleanup.failed panicked=true took=5ms
WARN cleanup.abandoned hooks=2
WARN breaker.changed from=half_open key=db� layer=breaker to=open why=by_hand
INFO breaker.changed from=half_open key=db� layer=breaker to=closed why=by_hand
INFO limit.changed key=acme layer=rate
INFO limit.changed layer=rate setting=order value=fifo
INFO limit.changed keys=9 layer=rate
"#;

#[tokio::test(start_paused = true)]
async fn each_event_has_its_level_and_its_fields() {
    let (recorded, _guard) = Recorded::start();
    let span = tracing::info_span!("current");
    span.in_scope(|| {
        for kind in kinds() {
            TracingSink::new().on_event(&Event::of_layer(kind));
        }
    });
    let mut lines = String::from("\n");
    for (level, mut fields) in recorded.spans()[0].events.clone() {
        let message = fields.remove("message").expect("each event has one");
        write!(lines, "{level} {message}").expect("a string");
        for (field, value) in fields {
            write!(lines, " {field}={value}").expect("a string");
        }
        lines.push('\n');
    }
    assert_eq!(lines, EXPECTED);
}
