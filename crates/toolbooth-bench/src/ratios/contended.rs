//! Many tasks on two worker threads that share one concurrency limit.

use std::fmt::Debug;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use toolbooth::ConcurrencyLimitLayer;
use toolbooth_bench::calls;
use toolbooth_bench::stacks::{CONCURRENT, call};
use toolbooth_bench::tools::AtOnce;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service};

use crate::contender::{Contender, rounds};
use crate::measure::{ratio, timed};
use crate::report::Report;
use crate::{CALLS, ROUNDS};

const TASKS: u32 = 64;

pub(crate) fn run(report: &mut Report) {
    let mut bare = contender(AtOnce, || ());
    let mut ours = contender(ConcurrencyLimitLayer::new(CONCURRENT).layer(AtOnce), call);
    let mut tower = contender(
        GlobalConcurrencyLimitLayer::new(CONCURRENT).layer(AtOnce),
        || (),
    );
    rounds(
        ROUNDS,
        TASKS * (4 * CALLS / TASKS),
        &mut [&mut bare, &mut ours, &mut tower],
    );
    report.ratio("contended_vs_tower", ratio(&ours, &tower, &bare));
    report.nanos("contended_bare", &bare);
    report.nanos("contended", &ours);
    report.nanos("contended_tower", &tower);
}

fn contender<'a, R, S>(service: S, request: fn() -> R) -> Contender<'a>
where
    R: Send + 'static,
    S: Service<R> + Clone + Send + 'static,
    S::Error: Debug + Send,
    S::Response: Send,
    S::Future: Send,
{
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime can be built");
    Contender::new(move |count| -> Duration {
        timed(|| {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for _ in 0..TASKS {
                    let mut service = service.clone();
                    tasks.spawn(async move {
                        calls(&mut service, request, count / TASKS).await;
                    });
                }
                tasks.join_all().await;
            });
        })
    })
}
