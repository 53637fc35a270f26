//! Whether a figure stays where it is, over a tracer's life.

use std::time::Duration;

/// What a process had at one moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it had watched.
    pub age: Duration,
    /// Resident memory, KiB.
    pub resident: u32,
    /// Open descriptors.
    pub descriptors: u32,
}

/// Until a tracer has met everything that it keeps in memory.
const WARM_UP: Duration = Duration::from_mins(2);

/// Fewer samples after that say nothing.
const LEAST: usize = 30;

/// Growth, KiB a minute, that the tracer's bounded memory of paths and connections may still have:
/// about half a KiB for each of the lab's resets, until it is full. Events that were not freed
/// would be three times as much.
const FILLING: f64 = 512.0;

/// Resident memory, KiB, that a tracer whose memory is full stays below.
const MOST: u32 = 96 * 1024;

/// How a figure went after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// The least.
    pub low: u32,
    /// The most.
    pub high: u32,
    /// Change a minute, by least squares.
    pub slope: f64,
}

/// The trends of resident memory and of descriptors; `None` for a life that was too short.
#[must_use]
pub fn trends(samples: &[Sample]) -> Option<[Trend; 2]> {
    let warm: Vec<_> = samples
        .iter()
        .filter(|sample| sample.age >= WARM_UP)
        .collect();
    if warm.len() < LEAST {
        return None;
    }
    let of = |figure: fn(&Sample) -> u32| {
        let points: Vec<_> = warm
            .iter()
            .map(|sample| (sample.age.as_secs_f64() / 60.0, figure(sample)))
            .collect();
        trend(&points)
    };
    Some([
        of(|sample| sample.resident)?,
        of(|sample| sample.descriptors)?,
    ])
}

fn trend(points: &[(f64, u32)]) -> Option<Trend> {
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean = |value: fn(&(f64, u32)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|(x, _)| *x), mean(|(_, y)| f64::from(*y)));
    let mut over = 0.0;
    let mut under = 0.0;
    for (x, y) in points {
        over += (x - mean_x) * (f64::from(*y) - mean_y);
        under += (x - mean_x) * (x - mean_x);
    }
    Some(Trend {
        low: points.iter().map(|(_, y)| *y).min()?,
        high: points.iter().map(|(_, y)| *y).max()?,
        slope: if under > 0.0 { over / under } else { 0.0 },
    })
}

/// What is wrong with a tracer's trends, if anything.
#[must_use]
pub fn complaint([resident, descriptors]: [Trend; 2]) -> Option<String> {
    if resident.slope > FILLING || resident.high > MOST {
        return Some(format!(
            "resident memory grew by {:.0} KiB a minute, from {} to {} KiB",
            resident.slope, resident.low, resident.high
        ));
    }
    // A sink has a descriptor more while it connects again.
    (descriptors.slope > 0.5).then(|| {
        format!(
            "open descriptors grew by {:.1} a minute, from {} to {}",
            descriptors.slope, descriptors.low, descriptors.high
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(
        minutes: u32,
        resident: impl Fn(u32) -> u32,
        descriptors: impl Fn(u32) -> u32,
    ) -> Vec<Sample> {
        (0..minutes * 30)
            .map(|number| Sample {
                age: Duration::from_secs(u64::from(number) * 2),
                resident: resident(number),
                descriptors: descriptors(number),
            })
            .collect()
    }

    #[test]
    fn what_stays_is_level_whatever_the_beginning_was() {
        let samples = life(10, |n| 9_000 + n.min(50) * 20 + n % 7, |n| 20 + n % 3);
        let trends = trends(&samples).expect("long enough");
        assert_eq!(complaint(trends), None, "{trends:?}");
    }

    #[test]
    fn a_leak_is_found() {
        let memory = trends(&life(10, |n| 9_000 + n * 30, |_| 20)).expect("long enough");
        assert!(complaint(memory).is_some_and(|it| it.contains("900 KiB a minute")));
        let descriptors = trends(&life(10, |_| 9_000, |n| 20 + n / 30)).expect("long enough");
        assert!(complaint(descriptors).is_some_and(|it| it.contains("1.0 a minute")));
    }

    #[test]
    fn a_short_life_says_nothing() {
        assert_eq!(trends(&life(2, |n| n * 1_000, |n| n)), None);
    }
}
