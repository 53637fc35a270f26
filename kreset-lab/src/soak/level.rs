//! Whether a tracer's memory and descriptors stay within what its life accounts for.

use std::time::Duration;

/// What a process had at one moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it had watched.
    pub age: Duration,
    /// Events of its host so far, those of tracers before it too.
    pub events: u32,
    /// Resident memory, KiB.
    pub resident: u32,
    /// Open descriptors.
    pub descriptors: u32,
}

/// Until a tracer has met every kind of thing that it does.
const WARM_UP: Duration = Duration::from_mins(2);

/// A sink takes more while its receiver is away or catches up, and gives it back:
/// what stays is the least that each minute has seen.
const MINUTE: u64 = 60;

/// Fewer minutes after the warm-up say nothing.
const LEAST: usize = 3;

/// Resident memory, KiB, that a tracer takes for each event of a connection that was never there
/// before, by how many of them it has reported: what `kreset/tests/bounded.rs` prints. It remembers
/// 16,384 paths, as many endings and what may become an incident; that it takes no more once these
/// are full, the test shows.
const REMEMBERED: [(f64, f64); 4] = [
    (4_000.0, 2.3),
    (8_000.0, 1.26),
    (16_000.0, 0.33),
    (f64::INFINITY, 0.06),
];

/// What may be added to that for each event. One that was never freed would add 1.4 KiB.
const AN_EVENT: f64 = 0.5;

/// Growth, KiB a minute, of a tracer that reports nothing.
const NO_EVENT: f64 = 64.0;

/// Resident memory, KiB, that a tracer whose memory is full stays below.
const MOST: u32 = 96 * 1024;

/// Resident memory, KiB, that a tracer stays below while it starts: 30 MB of a release build. A
/// development build, as this is then as well, has several times the code.
const START: u64 = if cfg!(debug_assertions) {
    48_000_000 / 1_024
} else {
    30_000_000 / 1_024
};

/// How a figure went after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// The least.
    pub low: u32,
    /// The most.
    pub high: u32,
    /// Change a minute of the least that each minute had.
    pub slope: f64,
}

/// How a tracer's life went after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trends {
    /// Resident memory, KiB.
    pub resident: Trend,
    /// Open descriptors.
    pub descriptors: Trend,
    /// Events a minute.
    pub events: f64,
    /// Growth of resident memory, KiB a minute, that its events account for.
    pub accounted: f64,
}

/// Resident memory, KiB, that is taken once so many events were reported.
fn remembered(events: f64) -> f64 {
    let mut taken = 0.0;
    let mut from = 0.0;
    for (to, each) in REMEMBERED {
        taken += (events.min(to) - from).max(0.0) * each;
        from = to;
    }
    taken
}

/// The trends of a life; `None` for one that was too short.
pub fn trends(samples: &[Sample]) -> Option<Trends> {
    let warm: Vec<_> = samples
        .iter()
        .filter(|sample| sample.age >= WARM_UP)
        .collect();
    let of = |figure: fn(&Sample) -> u32| {
        let lows: Vec<_> = warm
            .chunk_by(|a, b| a.age.as_secs() / MINUTE == b.age.as_secs() / MINUTE)
            .filter(|minute| spans_most_of_it(minute))
            .filter_map(|minute| minute.iter().min_by_key(|sample| figure(sample)))
            .map(|sample| (sample.age.as_secs_f64() / 60.0, figure(sample)))
            .collect();
        let slope = (lows.len() >= LEAST).then(|| slope(&lows))?;
        let all = || warm.iter().map(|sample| figure(sample));
        Some(Trend {
            low: all().min()?,
            high: all().max()?,
            slope,
        })
    };
    let (first, last) = (warm.first()?, warm.last()?);
    let minutes = last.age.saturating_sub(first.age).as_secs_f64() / 60.0;
    let before = samples.first()?.events;
    let reported = |sample: &Sample| f64::from(sample.events.saturating_sub(before));
    let (begin, end) = (reported(first), reported(last));
    let events = (end - begin) / minutes;
    Some(Trends {
        resident: of(|sample| sample.resident)?,
        descriptors: of(|sample| sample.descriptors)?,
        events,
        accounted: (remembered(end) - remembered(begin)) / minutes
            + AN_EVENT.mul_add(events, NO_EVENT),
    })
}

fn spans_most_of_it(minute: &[&Sample]) -> bool {
    let spanned = minute.first().zip(minute.last());
    spanned.is_some_and(|(first, last)| {
        last.age.saturating_sub(first.age) >= Duration::from_secs(MINUTE * 3 / 4)
    })
}

/// By least squares.
fn slope(points: &[(f64, u32)]) -> f64 {
    let count: f64 = points.iter().map(|_| 1.0).sum();
    let mean = |value: fn(&(f64, u32)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|(x, _)| *x), mean(|(_, y)| f64::from(*y)));
    let mut over = 0.0;
    let mut under = 0.0;
    for (x, y) in points {
        over += (x - mean_x) * (f64::from(*y) - mean_y);
        under += (x - mean_x) * (x - mean_x);
    }
    if under > 0.0 { over / under } else { 0.0 }
}

/// What is wrong with the most resident memory, KiB, of a start, if anything.
pub fn complaint_of_start(most: u64) -> Option<String> {
    (most > START).then(|| format!("a start took {most} KiB of resident memory, above {START}"))
}

/// What is wrong with a tracer's life, if anything.
pub fn complaint(trends: Trends) -> Option<String> {
    let Trends {
        resident,
        descriptors,
        events,
        accounted,
    } = trends;
    if resident.slope > accounted || resident.high > MOST {
        return Some(format!(
            "resident memory grew by {:.0} KiB a minute, from {} to {} KiB; its {events:.0} events \
             a minute account for {accounted:.0}",
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

    /// A life of `minutes` with ten events every two seconds, which is 300 a minute.
    fn life(
        minutes: u32,
        resident: impl Fn(u32) -> u32,
        descriptors: impl Fn(u32) -> u32,
    ) -> Vec<Sample> {
        (0..minutes * 30)
            .map(|number| Sample {
                age: Duration::from_secs(u64::from(number) * 2),
                events: 5_000 + number * 10,
                resident: resident(number),
                descriptors: descriptors(number),
            })
            .collect()
    }

    #[test]
    fn what_stays_is_level_whatever_the_beginning_was() {
        let samples = life(10, |n| 9_000 + n.min(50) * 200 + n % 7, |n| 20 + n % 3);
        let trends = trends(&samples).expect("long enough");
        assert_eq!(complaint(trends), None, "{trends:?}");
    }

    #[test]
    fn what_is_remembered_of_each_event_is_accounted_for() {
        // Ten events each time.
        let memory = |n: u32| 9_000 + n * 23;
        let young = trends(&life(10, memory, |_| 20)).expect("long enough");
        assert_eq!(complaint(young), None, "{young:?}");
        // After an hour, everything that can be remembered is.
        let old = trends(&life(60, |n| 9_000 + n.min(800) * 18, |_| 20)).expect("long enough");
        assert_eq!(complaint(old), None, "{old:?}");
    }

    #[test]
    fn a_leak_is_found() {
        // 1.4 KiB of each event beside what is remembered, which is little in an old tracer.
        for (minutes, remembered) in [(5, 23), (10, 23), (15, 21), (30, 16), (60, 9)] {
            let memory = |n: u32| 9_000 + n * (14 + remembered);
            let memory = trends(&life(minutes, memory, |_| 20)).expect("long enough");
            let complained = complaint(memory).expect("too much");
            assert!(complained.contains("KiB a minute"), "{complained}");
        }
        let descriptors = trends(&life(10, |_| 9_000, |n| 20 + n / 30)).expect("long enough");
        assert!(complaint(descriptors).is_some_and(|it| it.contains("1.0 a minute")));
    }

    #[test]
    fn what_grows_while_nothing_happens_is_found() {
        let mut samples = life(10, |n| 9_000 + n * 5, |_| 20);
        for sample in &mut samples {
            sample.events = 5_000;
        }
        let trends = trends(&samples).expect("long enough");
        assert!(complaint(trends).is_some_and(|it| it.contains("150 KiB a minute")));
    }

    #[test]
    fn what_is_given_back_has_not_grown() {
        // A receiver is away in the latter half of each minute.
        let away = |n: u32| if n % 30 < 15 { 0 } else { 3_000 };
        let level = trends(&life(10, |n| 9_000 + away(n), |_| 20)).expect("long enough");
        assert_eq!(complaint(level), None, "{level:?}");
        let grows = |n: u32| 9_000 + away(n) + n * 40;
        let grows = trends(&life(10, grows, |_| 20)).expect("long enough");
        assert!(complaint(grows).is_some(), "{grows:?}");
    }

    #[test]
    fn a_start_that_takes_too_much_is_found() {
        assert_eq!(complaint_of_start(START), None);
        assert!(complaint_of_start(START + 1).is_some());
    }

    #[test]
    fn a_short_life_says_nothing() {
        assert_eq!(trends(&life(4, |n| n * 1_000, |n| n)), None);
    }
}
