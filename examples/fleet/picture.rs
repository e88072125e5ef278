//! What happened, as a table of starts and permits over time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use toolbooth::BoxError;

use crate::{BURST, Event, LEASE, PER_SECOND, PERMITS, PROCESSES};

const SAMPLE: Duration = Duration::from_millis(250);

/// The delay between the server and the start of a call: two command timeouts.
const DELAY: Duration = Duration::from_millis(100);

pub(crate) struct Picture {
    started: Instant,
    names: HashMap<String, usize>,
    running: [usize; PROCESSES],
    most: usize,
    /// By the clock of the process that started the call: this one may read its output late.
    starts: Vec<Duration>,
    /// Starts since the last sample.
    recent: [usize; PROCESSES],
    samples: Vec<Sample>,
    killed: Option<Instant>,
    /// That of process 2, as text.
    timeline: Vec<String>,
}

struct Sample {
    at: Instant,
    starts: [usize; PROCESSES],
    /// The permits that the server counts for each process.
    held: [u64; PROCESSES],
}

// === impl Picture ===

impl Picture {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            names: HashMap::new(),
            running: [0; PROCESSES],
            most: 0,
            starts: Vec::new(),
            recent: [0; PROCESSES],
            samples: Vec::new(),
            killed: None,
            timeline: Vec::new(),
        }
    }

    pub(crate) fn record(&mut self, process: usize, event: Event) {
        if process == 0 && self.killed.is_some() {
            return;
        }
        match event {
            Event::Named(name) => {
                self.names.insert(name, process);
            }
            Event::Started(at) => {
                self.running[process] += 1;
                self.recent[process] += 1;
                self.starts.push(at);
                self.most = self.most.max(self.running.iter().sum());
            }
            Event::Ended => self.running[process] -= 1,
            Event::Timeline(line) if process == 1 => self.timeline.push(line),
            Event::Timeline(_) => {}
        }
    }

    pub(crate) const fn running(&self, process: usize) -> usize {
        self.running[process]
    }

    /// Records that process 1 is killed, with its calls.
    pub(crate) fn killed(&mut self) {
        self.running[0] = 0;
        self.killed = Some(Instant::now());
    }

    pub(crate) fn next_sample(&self) -> Instant {
        let last = self.samples.last().map_or(self.started, |last| last.at);
        last + SAMPLE
    }

    pub(crate) fn sample(&mut self, held: Vec<(String, u64)>) {
        let mut permits = [0; PROCESSES];
        for (name, held) in held {
            if let Some(process) = self.names.get(&name) {
                permits[*process] = held;
            }
        }
        self.samples.push(Sample {
            at: self.next_sample(),
            starts: std::mem::take(&mut self.recent),
            held: permits,
        });
    }

    pub(crate) fn print(&self) {
        println!("          starts of processes        permits of processes");
        println!("   time    1   2   3   4  all         1   2   3   4  all");
        let mut killed = self.killed;
        for sample in &self.samples {
            if let Some(at) = killed.take_if(|at| *at < sample.at) {
                let at = (at - self.started).as_secs_f64();
                println!("{at:>5.2} s  process 1 is killed");
            }
            let at = (sample.at - self.started).as_secs_f64();
            let starts: String = sample.starts.iter().map(|n| format!("{n:>4}")).collect();
            let held: String = sample.held.iter().map(|n| format!("{n:>4}")).collect();
            let started: usize = sample.starts.iter().sum();
            let all: u64 = sample.held.iter().sum();
            println!("{at:>5.2} s {starts} {started:>4}      {held} {all:>4}");
        }
        self.print_timeline();
    }

    /// Prints the timeline of process 2.
    fn print_timeline(&self) {
        println!("\nCalls of process 2, from a second before process 1 is killed:");
        for line in &self.timeline {
            println!("{line}");
        }
    }

    /// Returns an error if a limit was exceeded or a permit was lost.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        let second = Duration::from_secs(1);
        let in_second = |first: &Duration| {
            let in_window = |at: &&Duration| (*first..*first + second).contains(*at);
            self.starts.iter().filter(in_window).count()
        };
        let most = self.starts.iter().map(in_second).max().unwrap_or(0);
        let bound = f64::from(BURST) + f64::from(PER_SECOND) * (second + DELAY).as_secs_f64();
        println!();
        println!(
            "at once:     {} calls at most, the limit is {PERMITS}",
            self.most
        );
        println!("in a second: {most} starts at most, the bound is {bound:.0}");
        let killed = self.killed.ok_or("no process was killed")?;
        let after = self.samples.iter().filter(|sample| sample.at > killed);
        let back = after.clone().find(|sample| sample.held[0] == 0);
        let back = back.ok_or("the permits of process 1 did not come back")?;
        let took = (back.at - killed).as_secs_f64();
        println!("killed:      its permits are back after {took:.2} s, the lease is {LEASE:?}");
        if self.most > PERMITS {
            return Err("more calls at once than permits".into());
        }
        if u32::try_from(most).map_or(true, |most| f64::from(most) > bound) {
            return Err("more starts than the quota".into());
        }
        if back.at - killed > LEASE + 2 * SAMPLE {
            return Err("the permits came back too late".into());
        }
        Ok(())
    }
}
