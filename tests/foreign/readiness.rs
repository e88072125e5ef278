//! An outer timeout bounds the wait for the readiness of inner services.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use toolbooth::{CallContext, ConcurrencyLimitLayer, tool_fn};
use toolbooth_test::Recorder;

use super::*;

#[tokio::test(start_paused = true)]
async fn outer_timeout_bounds_the_readiness_of_every_stack() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} layers");
            let ours = ours();
            let permits = Arc::new(Semaphore::new(0));
            let never = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
            let never = erased(never.layer(slow(Duration::ZERO)));
            let stack = stack(&ours, |inner| foreign.around(inner), outside, never);
            let bounded = erased(TimeoutLayer::new(ms(100)).layer(stack));

            // Directly around a service that is not ready, `LoadShed` rejects.
            let expected = match (foreign, outside) {
                (Foreign::LoadShed, 5) => (Err(ErrorKind::Overloaded), Duration::ZERO),
                _ => (Err(ErrorKind::Timeout), ms(100)),
            };
            for ended in join_all((0..3).map(|_| timed(&bounded))).await {
                assert_eq!(ended, expected, "{case}");
            }
            ours.assert_released(&case);

            // No call that timed out is still queued for the permit.
            permits.add_permits(1);
            run_all_tasks().await;
            let (response, _) = timed(&bounded).await;
            assert_eq!(response, Ok("done".to_owned()), "{case}");
        }
    }
}

/// A limit of tower around a slow tool; a running call holds the only permit for a minute.
async fn busy(
    limited: impl Layer<Tool, Service: TowerLimited>,
) -> (Tool, impl Future<Output = ()>) {
    let limited = erased(limited.layer(slow(MINUTE)));
    let running = started(limited.clone()).await;
    let running = async move {
        assert_eq!(running.await.expect("no panic").expect("it ends"), "done");
    };
    (limited, running)
}

/// A tool in a limit of tower.
trait TowerLimited:
    Service<ToolCall, Response = ToolOutput, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> TowerLimited for T where
    T: Service<ToolCall, Response = ToolOutput, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

#[tokio::test(start_paused = true)]
async fn timeout_bounds_the_wait_for_the_limit_of_tower() {
    let start = Instant::now();
    let (limited, running) = busy(TowerConcurrencyLimitLayer::new(1)).await;
    let (global, global_running) = busy(GlobalConcurrencyLimitLayer::new(1)).await;
    for limited in [limited, global] {
        let start = Instant::now();
        for limit in [10, 100] {
            let tool = erased(TimeoutLayer::new(ms(limit)).layer(limited.clone()));
            let expected = (Err(ErrorKind::Timeout), ms(limit));
            assert_eq!(timed(&tool).await, expected);
        }
        assert_eq!(start.elapsed(), ms(110));
    }
    running.await;
    global_running.await;
    assert_eq!(start.elapsed(), MINUTE, "the running calls complete");
}

/// Control: the timeout of tower does not bound the wait for the limit of tower.
#[tokio::test(start_paused = true)]
async fn tower_timeout_bounds_the_wait_for_our_limit_but_not_for_its_own() {
    let (limited, running) = busy(TowerConcurrencyLimitLayer::new(1)).await;
    let own = erased(TowerTimeout::new(limited, ms(10)));
    let (ended, took) = timed(&own).await;
    assert_eq!((ended, took), (Err(ErrorKind::Timeout), MINUTE + ms(10)));
    running.await;

    let limit = ConcurrencyLimitLayer::new(1);
    let limited = limit.layer(slow(MINUTE));
    let running = started(limited.clone()).await;
    let tool = erased(TowerTimeout::new(limited, ms(10)));
    let expected = (Err(ErrorKind::Timeout), ms(10));
    assert_eq!(timed(&tool).await, expected);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    assert_eq!(running.await.unwrap().unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn timeout_bounds_the_wait_for_a_full_buffer() {
    let limited = TowerConcurrencyLimitLayer::new(1).layer(slow(MINUTE));
    let buffer = Buffer::new(limited, 1);
    // One runs, one waits for the permit, one fills the buffer.
    let running = [
        started(buffer.clone()).await,
        started(buffer.clone()).await,
        started(buffer.clone()).await,
    ];
    let full = buffer.clone().ready().now_or_never().is_none();
    assert!(full, "the buffer has room");

    let tool = erased(TimeoutLayer::new(ms(100)).layer(buffer.clone()));
    let expected = (Err(ErrorKind::Timeout), ms(100));
    assert_eq!(timed(&tool).await, expected);

    // The timed out call does not leak its slot.
    for running in running {
        assert_eq!(running.await.unwrap().unwrap(), "done");
    }
    assert!(buffer.clone().ready().now_or_never().is_some());
}

/// The unready instance moves into the future, so that its position in the queue is kept.
#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_permit_of_tower_keeps_its_position() {
    let order = Recorder::new();
    let log = order.clone();
    let tool = tool_fn("tool", move |context: CallContext, (): ()| {
        let name = match context.tenant() {
            Some("ours") => "ours",
            Some("later") => "later",
            _ => "first",
        };
        log.record(name);
        async move {
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    });
    let limited = TowerConcurrencyLimitLayer::new(1).layer(erased(tool));
    let mut ours = TimeoutLayer::unlimited().layer(limited.clone());
    let start = Instant::now();
    let mut first = limited.clone();
    let first = first.ready().await.unwrap().call(call());
    // It is queued by `call`, although the later one is polled first.
    let ours = ours.call(call().with_tenant("ours"));
    let later = limited.oneshot(call().with_tenant("later"));
    let all = async { tokio::join!(first, later, ours) };
    let (first, later, ours) = tokio::time::timeout(MINUTE, all)
        .await
        .expect("no permit is lost");
    assert!(first.is_ok() && ours.is_ok() && later.is_ok());
    assert_eq!(order.values(), ["first", "ours", "later"]);
    assert_eq!(start.elapsed(), ms(300));
}
