//! The Markdown tables.

use std::fmt;

use crate::contender::Contender;
use crate::measure::{Round, Spread};

/// Prints one row for each contender. The last column compares with the contender `base`.
pub(crate) fn table(title: &str, contenders: &[Contender], base: &str) {
    println!("### {title}\n");
    println!(
        "| Contender | µs a call | to `{base}` | Processor µs a call | Scripts a call | \
         Commands a call | Script µs on the server |"
    );
    println!("|---|---|---|---|---|---|---|");
    for contender in contenders {
        let spread = |value: fn(&Round) -> f64| Spread::of(contender.rounds.iter().map(value));
        let ratio = Spread::ratio(contender, of(contenders, base), |round| round.micros);
        println!(
            "| `{}` | {} | {} | {} | {:.3} | {:.2} | {:.1} |",
            contender.name,
            spread(|round| round.micros),
            ratio,
            spread(|round| round.processor),
            spread(|round| round.scripts).median,
            spread(|round| round.commands).median,
            spread(|round| round.server).median,
        );
    }
    println!();
}

/// Prints whether a target is met.
pub(crate) fn target(name: &str, measured: Spread, most: f64) {
    let met = if measured.median <= most {
        "met"
    } else {
        "missed"
    };
    println!("- {name}: {measured}, target {most}: {met}");
}

/// Prints a ratio without a target.
pub(crate) fn figure(name: &str, measured: Spread) {
    println!("- {name}: {measured}");
}

/// Returns the contender of a name.
pub(crate) fn of<'a>(contenders: &'a [Contender], name: &str) -> &'a Contender {
    let mut contenders = contenders.iter();
    contenders
        .find(|contender| contender.name == name)
        .expect("the line has this contender")
}

// === impl Spread ===

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.2} ({min:.2} to {max:.2})")
    }
}
