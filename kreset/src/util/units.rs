//! Numbers in the units that people think in, rounded.

/// Milliseconds to a tenth: the clocks are no finer.
#[must_use]
pub fn tenths(milliseconds: f64) -> f64 {
    (milliseconds * 10.0).round() / 10.0
}

/// A silence: exact enough to recognise a device's timer by, which is set in
/// seconds (`350.2 s`).
#[must_use]
pub fn precise(milliseconds: f64) -> String {
    let ms = sensible(milliseconds);
    let tenths = (ms / 100.0).round();
    if ms < 999.5 {
        format!("{} ms", small(ms))
    } else if tenths < 36_000.0 {
        let tenths = small(tenths);
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        rough(milliseconds)
    }
}

/// An age: its two largest units (`12m03s`).
#[must_use]
pub fn rough(milliseconds: f64) -> String {
    let ms = sensible(milliseconds);
    if ms < 999.5 {
        return format!("{ms:.0} ms");
    }
    if ms < 59_950.0 {
        return format!("{:.1} s", ms / 1000.0);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration, rounded"
    )]
    let whole = |unit_ms: f64| (ms / unit_ms).round() as u64;
    match whole(1_000.0) {
        seconds @ ..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => match whole(60_000.0) {
            minutes @ ..1440 => format!("{}h{:02}m", minutes / 60, minutes % 60),
            _ => format!(
                "{}d{:02}h",
                whole(3_600_000.0) / 24,
                whole(3_600_000.0) % 24
            ),
        },
    }
}

/// Nonsense (negative, not a number) is zero; more than a thousand years is that.
const fn sensible(milliseconds: f64) -> f64 {
    const LONGEST: f64 = 3.2e13;
    if milliseconds.is_nan() {
        0.0
    } else {
        milliseconds.clamp(0.0, LONGEST)
    }
}

/// A chance in whole percent, never rounded up to a certainty it has not.
#[must_use]
pub fn percent(chance: f64) -> String {
    if chance.is_nan() {
        return "-".to_owned();
    }
    let most = if chance < 1.0 { 99.0 } else { 100.0 };
    format!("{}%", small((chance * 100.0).clamp(0.0, most)))
}

/// A number as `{:.0}` writes it, which takes a formatter of doubles twenty times as long.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither negative nor great"
)]
const fn small(number: f64) -> u32 {
    number.round_ties_even() as u32
}

/// A size, in the largest unit of which there is a whole one (`6 GiB`, `1.5 GiB`).
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return count(bytes, "byte");
    };
    // Tenths of a unit, rounded; what is a whole number needs none.
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
    }
}

/// A number of things: `1 event`, `2 events`.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_keep_a_tenth_of_a_second() {
        for (milliseconds, text) in [
            (0.0, "0 ms"),
            (2.25, "2 ms"),
            (999.4, "999 ms"),
            (999.9, "1.0 s"),
            (1000.0, "1.0 s"),
            (3_680.0, "3.7 s"),
            (350_214.5, "350.2 s"),
            (3_599_940.0, "3599.9 s"),
            (3_599_999.0, "1h00m"),
            (3_600_000.0, "1h00m"),
            (-1.0, "0 ms"),
            (f64::NAN, "0 ms"),
        ] {
            assert_eq!(precise(milliseconds), text);
        }
    }

    #[test]
    fn ages_keep_two_units() {
        for (milliseconds, text) in [
            (34.0, "34 ms"),
            (59_900.0, "59.9 s"),
            (59_999.0, "1m00s"),
            (60_000.0, "1m00s"),
            (723_456.0, "12m03s"),
            (723_600.0, "12m04s"),
            (3_599_700.0, "1h00m"),
            (11_100_000.0, "3h05m"),
            (86_399_000.0, "1d00h"),
            (187_200_000.0, "2d04h"),
            (1e12, "11574d02h"),
        ] {
            assert_eq!(rough(milliseconds), text);
        }
    }

    #[test]
    fn sizes_are_whole_where_they_can_be() {
        for (size, text) in [
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1 << 10, "1 KiB"),
            (6 << 30, "6 GiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn small_numbers_are_rounded_as_a_formatter_rounds_them() {
        for halves in 0..4_000_u32 {
            for number in [f64::from(halves) / 2.0, f64::from(halves) / 1.3] {
                assert_eq!(small(number).to_string(), format!("{number:.0}"));
            }
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
