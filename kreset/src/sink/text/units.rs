//! Numbers in the units that people think in.

use std::time::Duration;

/// Milliseconds as a duration; nonsense (negative, not a number) is zero.
fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
}

/// A silence: exact enough to recognise a device's timer by, which is set in
/// seconds (`350.2s`).
pub(super) fn precise(milliseconds: f64) -> String {
    let duration = duration(milliseconds);
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        1..3600 => format!("{}.{}s", duration.as_secs(), duration.subsec_millis() / 100),
        _ => rough(milliseconds),
    }
}

/// An age: its two largest units (`12m03s`).
pub(super) fn rough(milliseconds: f64) -> String {
    let duration = duration(milliseconds);
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A chance in whole percent, never rounded up to a certainty it has not.
pub(super) fn percent(chance: f64) -> String {
    if chance.is_nan() {
        return "-".to_owned();
    }
    let most = if chance < 1.0 { 99.0 } else { 100.0 };
    format!("{:.0}%", (chance * 100.0).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_keep_a_tenth_of_a_second() {
        for (milliseconds, text) in [
            (0.0, "0ms"),
            (2.25, "2ms"),
            (999.9, "999ms"),
            (1000.0, "1.0s"),
            (350_214.5, "350.2s"),
            (3_599_999.0, "3599.9s"),
            (3_600_000.0, "1h00m"),
            (-1.0, "0ms"),
            (f64::NAN, "0ms"),
        ] {
            assert_eq!(precise(milliseconds), text);
        }
    }

    #[test]
    fn ages_keep_two_units() {
        for (milliseconds, text) in [
            (34.0, "34ms"),
            (59_999.0, "59.9s"),
            (60_000.0, "1m00s"),
            (723_456.0, "12m03s"),
            (11_100_000.0, "3h05m"),
            (187_200_000.0, "2d04h"),
            (1e12, "11574d01h"),
        ] {
            assert_eq!(rough(milliseconds), text);
        }
    }

    #[test]
    fn certainty_is_not_rounded_to() {
        for (chance, text) in [
            (0.0, "0%"),
            (0.027, "3%"),
            (0.973, "97%"),
            (0.9999, "99%"),
            (1.0, "100%"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(percent(chance), text);
        }
    }
}
