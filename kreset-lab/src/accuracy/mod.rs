//! How far the tracer can be trusted: a labelled matrix of every cause, on both hosts, in every
//! shape that changes what one host can know, and a count of what the tracer said of it.
//!
//! Labels come from what was done, never from what the tracer says; where two causes leave one
//! host the same evidence, the label says so.

pub mod case;
mod causes;
mod device;
pub mod document;
pub mod draw;
pub mod observation;
pub mod orderly;
pub mod score;
pub(crate) mod stage;
mod traffic;
mod world;

use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use case::{Case, Label, Room};
use draw::Draw;
use observation::Observation;
use stage::{Scene, Stage};

use crate::{
    Side, Stop,
    driver::{Options, Said, Tracer},
    error::{Error, Result},
    judge,
    net::Network,
    util::limits::allow_open_files,
};

/// Between the beginnings of two cases of a room: the processors are shared with the tracers.
const PACE: Duration = Duration::from_millis(30);

/// The longest that the cases of a room take after their beginning.
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

/// What a run came to.
#[derive(Debug, Default)]
pub struct Findings {
    /// What the tracers said, beside what they should have said.
    pub observations: Vec<Observation>,
    /// Cases that did not go as they should have, and why: nobody can be judged by them.
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
        self.not_staged.extend(other.not_staged);
        self.lost += other.lost;
        self.garbage.extend(other.garbage);
    }
}

impl Settings {
    /// Weights may not be set by what comes of this seed.
    #[must_use]
    pub fn held_out(&self) -> bool {
        !draw::USED.contains(&self.seed)
    }
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    causes::all()
}

/// Acts the cases out and judges the tracers on both hosts.
///
/// # Errors
/// When a network cannot be built, or a tracer did not run; [`Error::Stopped`].
pub fn run(settings: &Settings, stop: &Stop) -> Result<Findings> {
    allow_open_files(20_000)?;
    let mut rooms: Vec<(Room, Vec<Case>)> = Room::ALL.map(|room| (room, Vec::new())).into();
    for case in cases() {
        if case.is_unseen() && !settings.held_out() {
            continue;
        }
        if case.id.contains(&settings.only)
            && let Some((_, cases)) = rooms.iter_mut().find(|(room, _)| *room == case.room)
        {
            cases.push(case);
        }
    }
    rooms.retain(|(_, cases)| !cases.is_empty());
    let mut all = Findings::default();
    thread::scope(|scope| {
        let running: Vec<_> = rooms
            .iter()
            .map(|(room, cases)| scope.spawn(|| run_room(*room, cases, settings, stop)))
            .collect();
        for room in running {
            let findings = room.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            all.take(findings);
        }
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Acts one case out as `seed` draws it, for runs that judge nobody by it.
pub(crate) fn act_out(stage: &Stage, case: &Case, seed: u64) -> Result<Vec<Label>> {
    (case.script)(&Scene::new(stage, case.family, Draw::new(seed, &case.id)))
}

/// What became of a case.
struct Acted<'a> {
    case: &'a Case,
    labels: Result<Vec<Label>>,
    /// Of a case that failed, the end of what was on the wire.
    packets: String,
}

fn run_room(room: Room, cases: &[Case], settings: &Settings, stop: &Stop) -> Result<Findings> {
    let tracer = &settings.tracer;
    let waiting = if room == Room::Late { cases.len() } else { 0 };
    let stage = Stage::new(stop, room, settings.seed, waiting)?;
    prepare(room, stage.lab.network())?;
    let (acted, said) = thread::scope(|scope| {
        let mut tracers = None;
        if room != Room::Late {
            tracers = Some(attach(&stage, room, tracer)?);
            stage.gate().open();
        }
        let mut acting = Vec::new();
        for case in cases {
            stop.sleep(PACE)?;
            acting.push(scope.spawn(|| act(&stage, case, settings.seed)));
        }
        let tracers = if let Some(tracers) = tracers {
            tracers
        } else {
            stage.gate().wait_for_all(stop)?;
            let tracers = attach(&stage, room, tracer)?;
            stage.gate().open();
            tracers
        };
        let acted: Vec<_> = acting
            .into_iter()
            .map(|case| case.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect();
        stop.check()?;
        let [client, broker] = tracers;
        Ok::<_, Error>((acted, [client.finish()?, broker.finish()?]))
    })?;
    Ok(compare(&stage, settings.held_out(), acted, &said))
}

/// What a room's kernels do otherwise than others.
pub(crate) fn prepare(room: Room, network: &Network) -> Result<()> {
    match room {
        Room::GivesUp => network
            .host(Side::Client)
            .sysctl(&[("ipv4/tcp_retries2", "3")]),
        Room::Patient => {
            let seconds = causes::FIN_TIMEOUT.as_secs().to_string();
            network
                .host(Side::Broker)
                .sysctl(&[("ipv4/tcp_fin_timeout", &seconds)])
        }
        Room::Bare => Side::BOTH
            .into_iter()
            .try_for_each(|side| network.host(side).sysctl(&[("ipv4/tcp_timestamps", "0")])),
        Room::Usual | Room::Late | Room::ShowAll | Room::Blind => Ok(()),
    }
}

fn attach(stage: &Stage, room: Room, program: &Path) -> Result<[Tracer; 2]> {
    let max_idle = if room == Room::Patient {
        causes::LONGER_MAX_IDLE
    } else {
        causes::MAX_IDLE
    };
    let mut options = Options::default()
        .broker_max_idle(max_idle)
        .longer_by(LONGEST);
    if room != Room::ShowAll {
        options = options.without_noise();
    }
    if room == Room::Blind {
        options = options.without_packets();
    }
    let start = |side| stage.lab.trace(side, program, &options);
    thread::scope(|scope| {
        let client = scope.spawn(|| start(Side::Client));
        let broker = start(Side::Broker);
        let client = client.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok([client, broker?])
    })
}

fn act<'a>(stage: &Stage, case: &'a Case, seed: u64) -> Acted<'a> {
    let scene = Scene::new(stage, case.family, Draw::new(seed, &case.id));
    let labels = (case.script)(&scene);
    // Others wait for it, however far it came.
    scene.ready();
    let packets = match &labels {
        Ok(_) => String::new(),
        Err(_) => scene.last_packets(),
    };
    Acted {
        case,
        labels,
        packets,
    }
}

/// Puts what was said beside what should have been.
fn compare(stage: &Stage, held_out: bool, acted: Vec<Acted<'_>>, said: &[Said; 2]) -> Findings {
    let mut findings = Findings::default();
    let mut labelled = Vec::new();
    for Acted {
        case,
        labels,
        packets,
    } in acted
    {
        let labels = labels.and_then(|labels| {
            labels.iter().try_for_each(|label| check(stage, label))?;
            Ok(labels)
        });
        match labels {
            Ok(labels) => labelled.extend(labels.into_iter().map(|label| (case, label))),
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
    for (side, said) in Side::BOTH.into_iter().zip(said) {
        findings.lost += judge::lost(said);
        findings.garbage.extend(said.garbage.iter().cloned());
        findings
            .observations
            .extend(observation::observe(side, held_out, &labelled, said));
    }
    findings
}

/// Makes sure that the resets of a label, and no others, were on the wire.
fn check(stage: &Stage, label: &Label) -> Result<()> {
    let Some(expected) = &label.resets else {
        return Ok(());
    };
    let seen = stage.lab.wire().of_connection(label.port);
    for side in Side::BOTH {
        let ttl = |values: Vec<u8>| {
            let mut values = values;
            values.dedup();
            values
        };
        let seen = ttl(seen
            .iter()
            .filter(|seen| seen.resets(side))
            .map(|seen| seen.segment.ttl)
            .collect());
        let expected = ttl(expected
            .iter()
            .filter(|(victim, _)| *victim == side)
            .map(|(_, ttl)| stage.world.ttl(*ttl, side))
            .collect());
        if seen != expected {
            return Err(Error::Staging(format!(
                "resets with TTLs {seen:?} reached the {side} instead of {expected:?}"
            )));
        }
    }
    Ok(())
}
