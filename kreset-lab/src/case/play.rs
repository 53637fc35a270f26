//! Playing cases, and making sure that the wire shows what they are about.

use std::{collections::BTreeMap, fmt, sync::Arc, thread, time::Duration};

use super::{
    context::Context,
    draw::{Draw, hash},
    environment::Environment,
    parameters::Parameters,
    testbed::Testbed,
};
use crate::{
    Family, Side,
    error::{Error, Result},
    judge::Expected,
    trace::wire::Wire,
    util::worker::join,
};

/// Between the beginnings of two cases: the processors are shared with the tracers.
const PACE: Duration = Duration::from_millis(30);

/// Plays a case, and returns what should be said of it.
pub(super) type Act = dyn Fn(&Context<'_>) -> Result<Vec<Expected>> + Send + Sync;

/// One case: a row with one value for each of its parameters.
#[derive(Clone)]
pub struct Case {
    /// Cause, variant and family.
    pub id: String,
    /// Where it is played.
    pub environment: Environment,
    /// The kind of sockets.
    pub family: Family,
    pub(super) with: Parameters,
    pub(super) act: Arc<Act>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("id", &self.id)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl Case {
    /// Its numbers under a seed.
    pub(crate) fn draw(&self, seed: u64) -> Draw {
        Draw::new(seed, &self.id)
    }

    /// Whether weights may never be set by it, whatever is drawn: every fourth combination of cause
    /// and variant, in all families, is run under held-out seeds alone.
    pub fn is_unseen(&self) -> bool {
        let (combination, _) = self.id.rsplit_once('.').unwrap_or((&self.id, ""));
        is_unseen(combination)
    }
}

fn is_unseen(combination: &str) -> bool {
    // The low bits of FNV-1a are its weak ones.
    (hash(combination) >> 32).count_ones() & 3 == 3
}

/// What became of a case.
pub(crate) struct Played<'a> {
    pub(crate) case: &'a Case,
    /// What is expected of its connections, or why it did not go as it should have.
    pub(crate) expected: Result<Vec<Expected>>,
    /// Of a case that failed, the end of what was on the wire.
    pub(crate) packets: String,
}

/// Plays cases, all at once. `attach` starts the tracers: before the cases or, in
/// [`Environment::LateTracers`], once their connections are there and silent.
pub(crate) fn play<'a, T>(
    testbed: &Testbed<'_>,
    cases: &'a [Case],
    draw: impl Fn(&Case) -> Draw + Sync,
    attach: impl FnOnce() -> Result<T>,
) -> Result<(Vec<Played<'a>>, T)> {
    let stop = testbed.lab.stop();
    let play = |case: &'a Case| play_with(testbed, case, draw(case));
    thread::scope(|scope| {
        let begin = || {
            let mut playing = Vec::new();
            for (number, case) in cases.iter().enumerate() {
                if number > 0 {
                    stop.sleep(PACE)?;
                }
                playing.push(scope.spawn(move || play(case)));
            }
            Ok::<_, Error>(playing)
        };
        let (playing, tracers) = if testbed.environment == Environment::LateTracers {
            let playing = begin()?;
            testbed.attachment.wait_for_cases(stop)?;
            let tracers = attach()?;
            testbed.attachment.complete();
            (playing, tracers)
        } else {
            let tracers = attach()?;
            testbed.attachment.complete();
            (begin()?, tracers)
        };
        let played = playing.into_iter().map(join).collect();
        stop.check()?;
        Ok((played, tracers))
    })
}

/// Plays one case as `seed` draws it, for runs that judge no tracer by it.
pub(crate) fn play_one(testbed: &Testbed<'_>, case: &Case, seed: u64) -> Result<Vec<Expected>> {
    play_with(testbed, case, case.draw(seed)).expected
}

fn play_with<'a>(testbed: &Testbed<'_>, case: &'a Case, draw: Draw) -> Played<'a> {
    let context = Context::new(testbed, case.family, case.with, draw);
    let expected = (case.act)(&context);
    // Others wait for it, however far it came.
    context.ready();
    let packets = match &expected {
        Ok(_) => String::new(),
        Err(_) => context.last_packets(),
    };
    Played {
        case,
        expected,
        packets,
    }
}

/// The resets that reached an end, by the client's port: which end, and with which TTL.
pub(crate) type Resets = BTreeMap<u16, Vec<(Side, u8)>>;

/// All resets that were on the wire so far.
pub(crate) fn resets(wire: &Wire) -> Resets {
    let mut all = Resets::new();
    for seen in wire.sightings() {
        if seen.resets(seen.leg) {
            let of = all.entry(seen.client_port()).or_default();
            of.push((seen.leg, seen.segment.ttl));
        }
    }
    all
}

/// Makes sure that the resets that a case is about, and no others, were on the wire.
pub(crate) fn check_wire(testbed: &Testbed<'_>, seen: &Resets, expected: &Expected) -> Result<()> {
    let Some(resets) = &expected.resets else {
        return Ok(());
    };
    let seen = seen.get(&expected.port).map_or(&[][..], Vec::as_slice);
    for side in Side::BOTH {
        let once = |mut ttls: Vec<u8>| {
            ttls.dedup();
            ttls
        };
        let seen = seen.iter().filter(|(victim, _)| *victim == side);
        let seen = once(seen.map(|(_, ttl)| *ttl).collect());
        let resets = resets.iter().filter(|(victim, _)| *victim == side);
        let ttl = |(_, ttl): &(Side, _)| testbed.distances.ttl(*ttl, side);
        let expected = once(resets.map(ttl).collect());
        if seen != expected {
            return Err(Error::Staging(format!(
                "resets with TTLs {seen:?} reached the {side} instead of {expected:?}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_combinations_is_never_used() {
        let unseen = (0..1000)
            .filter(|number| is_unseen(&format!("idle_on_send.plain.{number}")))
            .count();
        assert!((180..320).contains(&unseen), "{unseen}");
    }
}
