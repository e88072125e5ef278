//! Contenders in turns.

use std::time::Duration;

use tokio::time::Instant;

/// One thing that is timed: so many calls of it.
pub(crate) struct Contender<'a> {
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
    nanos: Vec<f64>,
}

/// The median, least and greatest of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

// === impl Contender ===

impl<'a> Contender<'a> {
    pub(crate) fn new(run: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self {
            run: Box::new(run),
            nanos: Vec::new(),
        }
    }

    /// Makes so many calls that are not counted.
    pub(crate) fn warm_up(&mut self, calls: u32) {
        (self.run)(calls);
    }

    /// Nanoseconds a call.
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.nanos.iter().copied())
    }
}

/// Runs the contenders in turns, the first round only to warm up.
pub(crate) fn rounds(rounds: usize, calls: u32, contenders: &mut [&mut Contender<'_>]) {
    for round in 0..=rounds {
        for contender in contenders.iter_mut() {
            let nanos = (contender.run)(calls).as_secs_f64() * 1e9 / f64::from(calls);
            if round > 0 {
                contender.nanos.push(nanos);
            }
        }
    }
}

/// In each round the overhead of one over `bare`, as a part of the other's.
pub(crate) fn ratio(ours: &Contender<'_>, theirs: &Contender<'_>, bare: &Contender<'_>) -> Spread {
    let rounds = ours.nanos.iter().zip(&theirs.nanos).zip(&bare.nanos);
    Spread::of(rounds.map(|((ours, theirs), bare)| (ours - bare) / (theirs - bare)))
}

/// In each round what a pair differs by, as a part of what the other pair differs by.
pub(crate) fn ratio_of_differences(
    ours: (&Contender<'_>, &Contender<'_>),
    theirs: (&Contender<'_>, &Contender<'_>),
) -> Spread {
    let difference = |(with, without): (&Contender<'_>, &Contender<'_>)| -> Vec<f64> {
        let rounds = with.nanos.iter().zip(&without.nanos);
        rounds.map(|(with, without)| with - without).collect()
    };
    let (ours, theirs) = (difference(ours), difference(theirs));
    Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs))
}

/// In each round one as a part of the other, both with all that belongs to them.
pub(crate) fn ratio_of(ours: &Contender<'_>, theirs: &Contender<'_>) -> Spread {
    Spread::of(
        ours.nanos
            .iter()
            .zip(&theirs.nanos)
            .map(|(ours, theirs)| ours / theirs),
    )
}

/// How long `run` takes.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed()
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
}
