//! Playing the matrix, and putting what the tracers said beside what they should have said.

use std::{path::PathBuf, thread, time::Duration};

use super::{
    capture,
    observation::{self, Observation},
};
use crate::{
    Lab, Side, Stop,
    case::{self, Case, Distances, Environment, Played, Testbed, USED},
    driver::{self, Said},
    error::{Error, Result},
    event::Event,
    judge,
    util::{limits::allow_open_files, worker::join},
};

/// The longest that the cases of an environment take after their beginning.
const LONGEST: Duration = Duration::from_mins(2);

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tracer to judge.
    pub tracer: PathBuf,
    /// What silences, sizes, counts, distances and so on are drawn from.
    pub seed: u64,
    /// Cases whose name contains this only; all if it is empty.
    pub only: String,
}

impl Settings {
    /// Weights may not be set by what comes of this seed.
    pub fn held_out(&self) -> bool {
        !USED.contains(&self.seed)
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Findings {
    /// What the tracers said, beside what they should have said.
    pub observations: Vec<Observation>,
    /// The same of what both hosts' reports prove together.
    pub pairs: Vec<Observation>,
    /// The same of what `read` makes of each host's packets alone.
    pub captured: Vec<Observation>,
    /// Cases that did not go as they should have, and why: no tracer can be judged by them.
    pub not_staged: Vec<(String, String)>,
    /// Events that never reached a tracer, by the tracers' own count.
    pub lost: u64,
    /// Lines of tracers that are not of the contract.
    pub garbage: Vec<String>,
}

impl Findings {
    /// Adds those of another run.
    pub fn take(&mut self, other: Self) {
        self.observations.extend(other.observations);
        self.pairs.extend(other.pairs);
        self.captured.extend(other.captured);
        self.not_staged.extend(other.not_staged);
        self.lost += other.lost;
        self.garbage.extend(other.garbage);
    }
}

/// Plays the cases and judges the tracers on both hosts.
pub fn run(settings: &Settings, stop: &Stop) -> Result<Findings> {
    allow_open_files(20_000)?;
    let mut matrix = case::matrix();
    matrix.retain(|case| {
        case.id.contains(&settings.only) && (settings.held_out() || !case.is_unseen())
    });
    let of = |environment| -> Vec<Case> {
        let cases = matrix.iter();
        let of = cases.filter(|case| case.environment == environment);
        of.cloned().collect()
    };
    let environments = Environment::DRAWN.map(|environment| (environment, of(environment)));
    let mut all = Findings::default();
    thread::scope(|scope| {
        let running: Vec<_> = environments
            .iter()
            .filter(|(_, cases)| !cases.is_empty())
            .map(|(environment, cases)| scope.spawn(|| run_in(*environment, cases, settings, stop)))
            .collect();
        for environment in running {
            all.take(join(environment)?);
        }
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

fn run_in(
    environment: Environment,
    cases: &[Case],
    settings: &Settings,
    stop: &Stop,
) -> Result<Findings> {
    let late = environment == Environment::LateTracers;
    let waiting = if late { cases.len() } else { 0 };
    let lab = Lab::new(stop)?;
    let distances = Distances::draw(settings.seed, environment);
    let testbed = Testbed::new(&lab, environment, distances, waiting)?;
    let options = environment.options().longer_by(LONGEST);
    let (played, [client, broker]) = case::play(
        &testbed,
        cases,
        |case| case.draw(settings.seed),
        || case::attach(|side| lab.trace(side, &settings.tracer, &options)),
    )?;
    let said = [client.finish()?, broker.finish()?];
    let [client, broker] = &said;
    let proven = driver::pair::correlate(&settings.tracer, [client, broker])?;
    // Where tracers begin late, the packets before them are known to a capture alone, and what
    // can be decided is another question.
    let captured = if late {
        None
    } else {
        let read = |side| capture::read(&settings.tracer, lab.wire(), side, &options);
        Some([read(Side::Client)?, read(Side::Broker)?])
    };
    Ok(compare(
        &testbed,
        settings.held_out(),
        played,
        &Observed {
            said,
            captured,
            proven,
        },
    ))
}

/// What was said of the cases of an environment.
struct Observed {
    /// By the tracers of both hosts.
    said: [Said; 2],
    /// By `read` of each host's packets; `None` where they show more than a tracer could see.
    captured: Option<[Said; 2]>,
    /// By `correlate` of both hosts' reports.
    proven: Vec<Event>,
}

/// Puts what was said beside what should have been.
fn compare(
    testbed: &Testbed<'_>,
    held_out: bool,
    played: Vec<Played<'_>>,
    observed: &Observed,
) -> Findings {
    let mut findings = Findings::default();
    let mut labelled = Vec::new();
    let resets = case::resets(testbed.lab.wire());
    for Played {
        case,
        expected,
        packets,
    } in played
    {
        let expected = expected.and_then(|all| {
            all.iter()
                .try_for_each(|one| case::check_wire(testbed, &resets, one))?;
            Ok(all)
        });
        match expected {
            Ok(all) => labelled.extend(all.into_iter().map(|one| (case, one))),
            Err(error) => {
                let mut why = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    why = format!("{why}: {source}");
                }
                why.push_str(&packets);
                findings.not_staged.push((case.id.clone(), why));
            }
        }
    }
    for (side, said) in Side::BOTH.into_iter().zip(&observed.said) {
        findings.lost += judge::lost(said);
        findings.garbage.extend(said.garbage.iter().cloned());
        findings
            .observations
            .extend(observation::observe(side, held_out, &labelled, said));
    }
    for (side, said) in Side::BOTH
        .into_iter()
        .zip(observed.captured.iter().flatten())
    {
        findings
            .captured
            .extend(observation::observe(side, held_out, &labelled, said));
    }
    findings.pairs = observation::observe_pairs(held_out, &labelled, &observed.proven);
    findings
}
