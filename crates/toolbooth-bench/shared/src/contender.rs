//! What is measured, and its rounds.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tower::{Service, ServiceExt};

use crate::Error;
use crate::measure::{Round, processor};
use crate::server::Server;

/// A service, and the rounds that were measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
    run: Box<dyn Fn(Plan) -> Run>,
}

type Run = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The calls of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) calls: u32,
    pub(crate) pace: Pace,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// One call after the other, without a pause.
    Sequential,
    /// One call after the other. All tasks of the process run between two calls.
    Pauses,
    /// n tasks, each with one call after the other.
    InFlight(u32),
    /// n calls each millisecond, one after the other.
    EachMillisecond(u32),
}

/// How often the task of a limit and that of a connection may need to run in turns.
const YIELDS: u32 = 8;

// === impl Contender ===

impl Contender {
    pub(crate) fn new<R, S>(name: &'static str, service: S, request: fn() -> R) -> Self
    where
        R: Send + 'static,
        S: Service<R, Error: Into<Error>, Future: Send, Response: Send> + Clone + Send + 'static,
    {
        let run = move |plan: Plan| -> Run { Box::pin(run(service.clone(), request, plan)) };
        Self {
            name,
            rounds: Vec::new(),
            run: Box::new(run),
        }
    }

    /// Measures one round. The first one of each contender only warms up.
    pub(crate) async fn round(&mut self, plan: Plan, server: &Server) -> Result<Round, Error> {
        let before = server.executed().await?;
        let (start, processor_before) = (Instant::now(), processor()?);
        // On a worker, if there are some.
        tokio::spawn((self.run)(plan)).await??;
        let (time, processor) = (start.elapsed(), processor()? - processor_before);
        let after = server.executed().await?;
        let calls = f64::from(plan.calls);
        if let Pace::EachMillisecond(count) = plan.pace {
            let planned = Duration::from_millis(u64::from(plan.calls / count));
            if time > planned.mul_f64(1.2) {
                return Err(format!("{}: {time:?} instead of {planned:?}", self.name).into());
            }
        }
        Ok(Round {
            micros: time.as_secs_f64() * 1e6 / calls,
            processor: processor.as_secs_f64() * 1e6 / calls,
            scripts: (after.scripts - before.scripts) / calls,
            commands: (after.commands - before.commands) / calls,
            server: (after.micros - before.micros) / calls,
        })
    }
}

/// Makes the calls of one round. The first call that fails ends it.
async fn run<R, S>(mut service: S, request: fn() -> R, plan: Plan) -> Result<(), Error>
where
    R: Send + 'static,
    S: Service<R, Error: Into<Error>, Future: Send, Response: Send> + Clone + Send + 'static,
{
    match plan.pace {
        Pace::Sequential => calls(&mut service, request, plan.calls).await,
        Pace::Pauses => {
            for _ in 0..plan.calls {
                calls(&mut service, request, 1).await?;
                for _ in 0..YIELDS {
                    yield_now().await;
                }
            }
            Ok(())
        }
        Pace::InFlight(tasks) => {
            let mut set = JoinSet::new();
            for _ in 0..tasks {
                let mut service = service.clone();
                let count = plan.calls / tasks;
                set.spawn(async move { calls(&mut service, request, count).await });
            }
            while let Some(ended) = set.join_next().await {
                ended??;
            }
            Ok(())
        }
        Pace::EachMillisecond(count) => {
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..plan.calls / count {
                ticks.tick().await;
                calls(&mut service, request, count).await?;
            }
            Ok(())
        }
    }
}

async fn calls<R, S>(service: &mut S, request: fn() -> R, count: u32) -> Result<(), Error>
where
    S: Service<R, Error: Into<Error>>,
{
    for _ in 0..count {
        let ready = service.ready().await.map_err(Into::into)?;
        ready.call(request()).await.map_err(Into::into)?;
    }
    Ok(())
}
