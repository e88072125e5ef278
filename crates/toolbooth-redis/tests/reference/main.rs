//! The scripts against their reference, `toolbooth_test::MemoryStore`: random commands have equal
//! replies and notifications, to the microsecond. The scripts get the time of the reference.
//!
//! `tests/shared/run` runs it: it needs a server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use redis::FromRedisValue;
use tokio::time::{Instant, advance};
use toolbooth::shared::{
    Heartbeat, Holder, LimitStore, PermitsUpdated, ReturnTokens, SetLimit, SharedQuota, TakeTokens,
    UpdatePermits,
};
use toolbooth_test::MemoryStore;

use crate::commands::Command;
use crate::keys::Keys;

// The commands are the crate's own: the test executes them without its connection.
#[path = "../../src/commands.rs"]
mod commands;
#[path = "../../src/keys.rs"]
mod keys;
#[expect(dead_code, reason = "the scripts are sent as text")]
#[path = "../../src/scripts/mod.rs"]
mod scripts;
#[expect(dead_code, reason = "tests of the connection use more of it")]
#[path = "../servers/server.rs"]
mod server;
#[expect(unreachable_pub, reason = "public in the crate")]
#[path = "../../src/status.rs"]
mod status;

use server::Server;

#[derive(Debug, Clone)]
enum Step {
    Take(TakeTokens),
    /// Returns tokens of one of the reservations.
    Return(prop::sample::Index, u64, Duration),
    /// A command of a process, or its last command again.
    Update(UpdatePermits, bool),
    Heartbeat(Heartbeat),
}

/// The server with the time of the reference.
struct Scripts {
    keys: Keys,
    connection: redis::Connection,
    started: Instant,
    /// The server's time at the start, an hour ahead: keys do not expire by its own clock.
    epoch: u64,
}

const PROCESSES: [&str; 3] = ["a", "b", "c"];

// === impl Scripts ===

impl Scripts {
    fn new(server: &Server) -> Self {
        let mut connection = server.admin();
        let (seconds, _): (u64, u64) = redis::cmd("TIME").query(&mut connection).expect("a time");
        Self {
            keys: Keys::new("toolbooth"),
            connection,
            started: Instant::now(),
            epoch: (seconds + 3600) * 1_000_000,
        }
    }

    fn run<R: FromRedisValue, T>(&mut self, command: Command<R, T>) -> T {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).expect("a short test");
        let now = self.epoch + elapsed;
        let time = format!("{{ '{}', '{}' }}", now / 1_000_000, now % 1_000_000);
        let text = command.code.text.replace("redis.call('TIME')", &time);
        assert_ne!(text, command.code.text, "the script reads the time");
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(text)
            .arg(command.keys.len())
            .arg(command.keys)
            .arg(command.args);
        (command.convert)(cmd.query(&mut self.connection).expect("a reply"))
    }

    /// Updates permits. The fencing numbers begin with the time, which is the reference's here.
    fn update(&mut self, request: &UpdatePermits) -> PermitsUpdated {
        let mut reply = self.run(commands::update_permits(&self.keys, request));
        reply.fence = reply.fence - self.epoch + 1_000_000;
        reply
    }

    /// Returns what was published by the last command.
    fn published(&mut self, pubsub: &mut redis::PubSub<'_>) -> Vec<(String, u64)> {
        let channel = self.keys.channel("end");
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&channel).arg(0);
        publish.exec(&mut self.connection).expect("a reply");
        let mut published = Vec::new();
        loop {
            let message = pubsub.get_message().expect("a message");
            if message.get_channel_name() == channel {
                return published;
            }
            let process = message
                .get_channel_name()
                .strip_prefix(&self.keys.channels());
            let process = process.expect("a channel of a process").to_owned();
            published.push((process, message.get_payload().expect("a number")));
        }
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn set_limit() -> impl Strategy<Value = SetLimit> {
    prop_oneof![
        8 => Just(SetLimit::IfUnknown),
        2 => Just(SetLimit::IfConfigured),
        1 => Just(SetLimit::Always),
    ]
}

fn take() -> impl Strategy<Value = Step> {
    let quota = (1u64..20_000, 1u32..6).prop_map(|(interval, burst)| SharedQuota {
        interval: Duration::from_micros(interval),
        burst,
    });
    let quotas = prop_oneof![2 => vec(quota.clone(), 1), 1 => vec(quota, 2..4)];
    // Also numbers whose wait is not exact in a double.
    let least = prop_oneof![9 => 0u64..8, 1 => 1_000_000_000_000u64..1 << 53];
    let wait = (millis(0..60), millis(0..60), prop::bool::weighted(0.2));
    (quotas, set_limit(), least, 0u64..5, wait).prop_map(
        |(quotas, set, least, more, (max_wait, horizon, charge))| {
            Step::Take(TakeTokens {
                limit: "limit".into(),
                quotas,
                set,
                least,
                most: least.saturating_add(more),
                max_wait,
                horizon,
                charge,
            })
        },
    )
}

fn update() -> impl Strategy<Value = Step> {
    let limit = (1u64..6, set_limit());
    let needs = (0u64..3, 0u64..4, 0u64..4);
    let times = (millis(1..60), millis(1..20));
    let holder = (prop::sample::select(&PROCESSES[..]), 0u64..2);
    (limit, needs, times, holder, prop::bool::weighted(0.1)).prop_map(
        |((permits, set), (held, least, more), (lifetime, turn), (process, number), again)| {
            let holder = Holder {
                process: process.into(),
                number,
            };
            let update = UpdatePermits {
                limit: "limit".into(),
                holder,
                number: 0,
                permits,
                set,
                held,
                least,
                most: least + if least > 0 { more } else { 0 },
                lifetime,
                turn,
            };
            Step::Update(update, again)
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<(Step, Duration)>> {
    let give = (any::<prop::sample::Index>(), 0u64..6, millis(0..40));
    let heartbeat = (prop::sample::select(&PROCESSES[..]), millis(0..30));
    let heartbeat = heartbeat.prop_map(|(process, lifetime)| {
        let process = process.into();
        Step::Heartbeat(Heartbeat { process, lifetime })
    });
    let step = prop_oneof![
        3 => take(),
        1 => give.prop_map(|(index, tokens, age)| Step::Return(index, tokens, age)),
        6 => update(),
        1 => heartbeat,
    ];
    let pause = prop_oneof![
        2 => Just(Duration::ZERO),
        1 => (0u64..20_000).prop_map(Duration::from_micros),
    ];
    vec((step, pause), 1..60)
}

/// Runs the steps on both, and compares what they reply and publish.
async fn compare(server: &Server, steps: Vec<(Step, Duration)>) -> Result<(), TestCaseError> {
    let model = MemoryStore::new();
    let notified = Arc::new(Mutex::new(Vec::new()));
    for process in PROCESSES {
        let notified = Arc::clone(&notified);
        let notify = move |number| {
            let mut notified = notified.lock().expect("no panic");
            notified.push((process.to_owned(), number));
        };
        model.notify_with(&process.into(), Arc::new(notify));
    }
    server.command::<()>("FLUSHALL");
    let mut scripts = Scripts::new(server);
    let mut subscriber = server.admin();
    let mut pubsub = subscriber.as_pubsub();
    let pattern = format!("{}*", scripts.keys.channels());
    pubsub.psubscribe(pattern).expect("a subscription");
    // The receipts of both, of tokens that were taken.
    let mut receipts = vec![(1, 1)];
    // A holder begins with 1.
    let mut number = 1;
    for (step, pause) in steps {
        advance(pause).await;
        match step {
            Step::Take(request) => {
                let mut reply = scripts.run(commands::take_tokens(&scripts.keys, &request));
                let expected = model.take_tokens(request).await.expect("a reply");
                if reply.taken > 0 {
                    receipts.push((reply.receipt, expected.receipt));
                }
                reply.receipt = expected.receipt;
                prop_assert_eq!(reply, expected);
            }
            Step::Return(index, tokens, age) => {
                let (receipt, of_model) = *index.get(&receipts);
                let request = |receipt| ReturnTokens {
                    limit: "limit".into(),
                    receipt,
                    tokens,
                    age,
                };
                scripts.run(commands::return_tokens(&scripts.keys, &request(receipt)));
                model
                    .return_tokens(request(of_model))
                    .await
                    .expect("a reply");
            }
            Step::Update(mut request, again) => {
                number += u64::from(!again);
                request.number = number;
                let reply = scripts.update(&request);
                let expected = model.update_permits(request).await.expect("a reply");
                prop_assert_eq!(reply, expected);
            }
            Step::Heartbeat(request) => {
                let reply = scripts.run(commands::heartbeat(&scripts.keys, &request));
                prop_assert_eq!(reply, model.heartbeat(request).await.expect("a reply"));
            }
        }
        let expected = std::mem::take(&mut *notified.lock().expect("no panic"));
        prop_assert_eq!(scripts.published(&mut pubsub), expected);
    }
    let last = UpdatePermits {
        limit: "limit".into(),
        holder: Holder {
            process: "d".into(),
            number: 0,
        },
        number: 1,
        permits: 1,
        set: SetLimit::IfUnknown,
        held: 0,
        least: 0,
        most: 0,
        lifetime: Duration::from_secs(1),
        turn: Duration::ZERO,
    };
    let reply = scripts.update(&last);
    prop_assert_eq!(reply, model.update_permits(last).await.expect("a reply"));
    let status = scripts.run(commands::status(&scripts.keys, "limit"));
    let held = status.holders.iter().map(|holder| holder.held).sum::<u64>();
    prop_assert_eq!(held, model.held("limit"));
    Ok(())
}

#[test]
fn scripts_reply_as_the_reference_does() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let config = ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in steps())| runtime.block_on(compare(&server, steps))?);
}

/// The leases are lost, and the clock of the server is an hour back.
#[test]
fn numbers_of_permits_increase_after_the_clock_was_set_back() {
    let server = Server::start();
    // The time of the scripts is tokio's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let mut scripts = Scripts::new(&server);
    let mut update = UpdatePermits {
        limit: "limit".into(),
        holder: Holder {
            process: "a".into(),
            number: 0,
        },
        number: 1,
        permits: 3,
        set: SetLimit::IfUnknown,
        held: 0,
        least: 1,
        most: 1,
        lifetime: Duration::from_secs(3_600),
        turn: Duration::ZERO,
    };
    let before = scripts.run(commands::update_permits(&scripts.keys, &update));
    assert_eq!(before.granted, 1);
    scripts.epoch -= 3_600_000_000;
    server.command::<()>("DEL toolbooth:{limit}:leases");
    (update.number, update.held) = (2, 1);
    let after = scripts.run(commands::update_permits(&scripts.keys, &update));
    assert_eq!((after.granted, after.fence), (1, before.fence + 1));
}
