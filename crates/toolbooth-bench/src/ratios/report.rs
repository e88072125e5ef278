//! The printed lines, and the bounds that a ratio is compared with.

use std::fmt;

use crate::contender::Contender;
use crate::measure::Spread;

/// The required and the intended value of a ratio, or of a number of bytes.
struct Bound {
    name: &'static str,
    must: f64,
    aim: f64,
    /// Whether a greater value is better.
    at_least: bool,
}

const BOUNDS: [Bound; 12] = [
    at_most("three_vs_tower", 1.6, 1.0),
    at_most("five_vs_tower_three", 2.5, 1.5),
    at_most("three_vs_resilience", 0.35, 0.20),
    at_most("pending_vs_tower", 1.5, 1.0),
    at_most("agent_vs_resilience", 0.6, 0.4),
    at_least("keys_two_threads", 1.6, 1.9),
    at_least("keys_two_threads_rate", 1.6, 1.9),
    at_most("toolbox_lookup", 1.3, 1.1),
    at_most("toolbox_policies", 1.3, 1.0),
    at_most("events_off", 1.05, 1.02),
    at_most("storm", 4.0, 2.0),
    at_most("memory_running", 760.0, 512.0),
];

const fn at_most(name: &'static str, must: f64, aim: f64) -> Bound {
    Bound {
        name,
        must,
        aim,
        at_least: false,
    }
}

const fn at_least(name: &'static str, must: f64, aim: f64) -> Bound {
    Bound {
        name,
        must,
        aim,
        at_least: true,
    }
}

/// The ratios first, then the values that they are made of.
#[derive(Debug)]
pub(crate) struct Report {
    calls: Option<u32>,
    ratios: usize,
    lines: Vec<String>,
}

// === impl Report ===

impl Report {
    pub(crate) const fn new(calls: Option<u32>) -> Self {
        Self {
            calls,
            ratios: 0,
            lines: Vec::new(),
        }
    }

    /// Returns the number of calls from the command line, or the line's default.
    pub(crate) fn calls_or(&self, default: u32) -> u32 {
        self.calls.unwrap_or(default)
    }

    pub(crate) fn ratio(&mut self, name: &str, Spread { median, min, max }: Spread) {
        let mut line = format!("ratio {name} {median:.3} {min:.3} {max:.3}");
        line.push_str(&compared(name, median));
        self.lines.insert(self.ratios, line);
        self.ratios += 1;
    }

    pub(crate) fn nanos(&mut self, name: &str, contender: &Contender<'_>) {
        let Spread { median, min, max } = contender.spread();
        self.lines
            .push(format!("nanos {name} {median:.1} {min:.1} {max:.1}"));
    }

    /// Reports the processor time of one call, in nanoseconds.
    pub(crate) fn processor(&mut self, name: &str, Spread { median, min, max }: Spread) {
        self.lines
            .push(format!("processor {name} {median:.1} {min:.1} {max:.1}"));
    }

    pub(crate) fn allocations(&mut self, name: &str, count: u64, bytes: u64) {
        self.lines
            .push(format!("allocations {name} {count} ({bytes} bytes)"));
    }

    /// Reports the bytes of one call.
    pub(crate) fn bytes(&mut self, name: &str, bytes: f64) {
        let compared = compared(name, bytes);
        self.lines
            .push(format!("bytes {name} {bytes:.0}{compared}"));
    }

    /// Reports the instructions of one call with few and with many calls.
    pub(crate) fn instructions(&mut self, name: &str, few: f64, many: f64) {
        self.lines
            .push(format!("instructions {name} {few:.0} {many:.0}"));
    }
}

/// Returns the bounds of a value and which of them it meets, if it has any.
fn compared(name: &str, value: f64) -> String {
    let Some(bound) = BOUNDS.iter().find(|bound| bound.name == name) else {
        return String::new();
    };
    let meets = |limit: f64| {
        if bound.at_least {
            value >= limit
        } else {
            value <= limit
        }
    };
    let met = if meets(bound.aim) {
        "meets aim"
    } else if meets(bound.must) {
        "meets must"
    } else {
        "MISSES MUST"
    };
    let sign = if bound.at_least { ">=" } else { "<=" };
    format!(" must {sign} {} aim {sign} {} {met}", bound.must, bound.aim)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}
