//! Durations with three digits.

use std::time::Duration;

/// Returns a duration with its three leading digits at most, such as `4.05s` or `1h02m`. Seven
/// columns wide up to ten thousand hours.
pub(super) fn short(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => scaled(nanos, 1_000, "us"),
        1_000_000..1_000_000_000 => scaled(nanos, 1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => scaled(nanos, 1_000_000_000, "s"),
        _ => {
            let seconds = duration.as_secs();
            match seconds {
                0..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
                _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            }
        }
    }
}

/// Returns the quotient with three digits, cut and not rounded, without zeros at its end.
fn scaled(nanos: u128, unit: u128, name: &str) -> String {
    let (whole, thousandths) = (nanos / unit, nanos % unit * 1_000 / unit);
    let digits = match whole {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    let fraction = format!("{thousandths:03}");
    let fraction = fraction[..digits].trim_end_matches('0');
    match fraction {
        "" => format!("{whole}{name}"),
        _ => format!("{whole}.{fraction}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (nanos, expected) in [
            (0, "0s"),
            (999, "999ns"),
            (1_000, "1us"),
            (4_056_000, "4.05ms"),
            (40_560_000, "40.5ms"),
            (999_999_999, "999ms"),
            (3_000_000_000, "3s"),
            (59_999_000_000, "59.9s"),
            (60_000_000_000, "1m00s"),
            (3_720_000_000_000, "1h02m"),
        ] {
            assert_eq!(short(Duration::from_nanos(nanos)), expected);
        }
    }
}
