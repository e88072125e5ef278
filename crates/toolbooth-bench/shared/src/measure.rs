//! Rounds, and ratios of rounds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Error;
use crate::contender::{Contender, Plan};
use crate::server::Server;

/// How many rounds count.
const ROUNDS: usize = 5;

/// What one call of a round took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Microseconds by the clock on the wall.
    pub(crate) micros: f64,
    /// Microseconds of processor time of this process, all threads.
    pub(crate) processor: f64,
    pub(crate) scripts: f64,
    pub(crate) commands: f64,
    /// Microseconds of the scripts on the server.
    pub(crate) server: f64,
}

/// The median, least and greatest value of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Measures all contenders in turns, in another order each round.
pub(crate) async fn rounds(
    contenders: &mut [Contender],
    plan: Plan,
    few: bool,
    server: &Server,
) -> Result<(), Error> {
    let rounds = if few { 1 } else { ROUNDS };
    for contender in contenders.iter_mut() {
        contender.round(plan, server).await?;
    }
    for round in 0..rounds {
        for index in 0..contenders.len() {
            let contender = &mut contenders[(index + round) % contenders.len()];
            let measured = contender.round(plan, server).await?;
            contender.rounds.push(measured);
        }
    }
    Ok(())
}

/// Returns the processor time of all threads of this process.
pub(crate) fn processor() -> Result<Duration, Error> {
    Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?)
}

// === impl Spread ===

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
        }
    }

    /// Divides a value of one contender by that of another one, in each round.
    pub(crate) fn ratio(ours: &Contender, theirs: &Contender, value: fn(&Round) -> f64) -> Self {
        let rounds = ours.rounds.iter().zip(&theirs.rounds);
        Self::of(rounds.map(|(ours, theirs)| value(ours) / value(theirs)))
    }

    /// Divides what one contender takes more than `bare` by what another one does, in each round.
    pub(crate) fn ratio_over(
        ours: &Contender,
        theirs: &Contender,
        bare: &Contender,
        value: fn(&Round) -> f64,
    ) -> Self {
        let rounds = ours.rounds.iter().zip(&theirs.rounds).zip(&bare.rounds);
        Self::of(rounds.map(|((ours, theirs), bare)| {
            (value(ours) - value(bare)) / (value(theirs) - value(bare))
        }))
    }
}
