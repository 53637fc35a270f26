//! One lab with a tracer on each host, and how both did.

use std::{
    path::{Path, PathBuf},
    process::Command,
    slice, thread,
    time::Duration,
};

use super::{
    distances::Distances,
    draw::Draw,
    environment::Environment,
    play::{self, Case},
    shell,
    testbed::Testbed,
};
use crate::{
    Lab, Moment, Side,
    driver::{self, Said, Tracer},
    error::{Error, Result},
    event::Event,
    judge::{self, Claim, Claims, exact},
    net::packet::Flags,
    trace::{connections::Connections, timeline::Timeline},
    util::worker::join,
};

/// How long a packet that was provoked may take to show up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all scenarios of a run have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tracer to judge. Without one the scenarios are played, and only the wire is checked.
    pub tracer: Option<PathBuf>,
    /// After how long the devices forget a silent connection; whole seconds.
    pub idle_timeout: Duration,
    /// By how much devices that are modelled after real ones are quicker than those, instead.
    pub scale: Option<f64>,
    /// Whether to keep everything up for a shell on the client's host before judging.
    pub shell: bool,
    /// Where to leave each scenario's packets and the tracers' output.
    pub keep: Option<PathBuf>,
    /// Where the binary `kreset-lab` is, if the running program is another one.
    pub own_binary: Option<PathBuf>,
}

/// A lab, and what the run's user wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    /// The network to act in.
    pub(crate) lab: &'a Lab,
    settings: &'a Settings,
    /// Where this scenario's traces are kept, if they are.
    keep: Option<&'a Path>,
}

impl<'a> Session<'a> {
    pub(super) const fn new(lab: &'a Lab, settings: &'a Settings, keep: Option<&'a Path>) -> Self {
        Self {
            lab,
            settings,
            keep,
        }
    }

    /// Whether a person will look around, so that nothing may be stopped where it is.
    pub(crate) const fn has_visitors(&self) -> bool {
        self.settings.shell
    }

    /// After how long the devices forget a silent connection, when they are really `default`:
    /// what the run's user says, or that much scaled down.
    pub(crate) fn scaled(&self, default: Duration) -> Duration {
        match self.settings.scale {
            // Conntrack counts in whole seconds, from 1.
            Some(scale) => Duration::from_secs(default.div_f64(scale).as_secs().max(1)),
            None => self.idle_timeout(),
        }
    }

    /// The devices' idle timeout.
    pub(crate) const fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// The tracer to judge, if there is one.
    pub(crate) fn tracer(&self) -> Option<&Path> {
        self.settings.tracer.as_deref()
    }

    /// The tracer's program, to run another of its subcommands.
    ///
    /// # Errors
    /// [`Error::Staging`] where only the wire is checked.
    pub(crate) fn tracer_command(&self) -> Result<Command> {
        let program = self.settings.tracer.as_ref().ok_or_else(|| {
            Error::Staging("a scenario with a probe needs the program kreset-trace".to_owned())
        })?;
        Ok(Command::new(program))
    }

    /// Says nothing until every device has forgotten the connection.
    pub(crate) fn outlast_the_device(&self) -> Result<()> {
        self.lab
            .silence(self.idle_timeout() + Duration::from_millis(500))
    }

    /// Starts a tracer on each host, and waits until both are attached.
    pub(crate) fn watch_with(&self, options: &driver::Options) -> Result<Watch<'a>> {
        let patience = if self.settings.shell {
            shell::LONGEST
        } else {
            2 * self.idle_timeout()
        };
        self.lab.status().set("starting the tracers");
        let options = &options.clone().longer_by(patience);
        let tracers = match &self.settings.tracer {
            Some(program) => Some(attach(|side| {
                let options = match self.keep {
                    Some(directory) => options
                        .clone()
                        // The kernel's records, so that they can be judged again.
                        .record(&directory.join(format!("{side}.records"))),
                    None => options.clone(),
                };
                self.lab.trace(side, program, &options)
            })?),
            None => None,
        };
        Ok(Watch {
            tracers,
            attached: Moment::now(),
            lab: self.lab,
            shell: self.settings.shell,
        })
    }

    /// Plays a case at its default parameters, and has both tracers judged to the millisecond.
    pub(super) fn play(&self, case: &Case) -> Result<Outcome> {
        let late = usize::from(case.environment == Environment::LateTracers);
        let distances = Distances::default_with(self.idle_timeout());
        let testbed = Testbed::new(self.lab, case.environment, distances, late)?;
        let attach = || self.watch_with(&case.environment.options());
        let (played, watch) =
            play::play(&testbed, slice::from_ref(case), |_| Draw::least(), attach)?;
        let mut all = Vec::new();
        for case in played {
            all.extend(case.expected?);
        }
        let wire = self.lab.wire();
        // The tap may lag behind.
        let count = all.iter().flat_map(|one| &one.resets).flatten().count();
        wire.wait_for_count(count, "the resets", PATIENCE, |seen| seen.resets(seen.leg))?;
        let resets = play::resets(wire);
        for expected in &all {
            play::check_wire(&testbed, &resets, expected)?;
        }
        let attached = watch.attached;
        let mut outcome = watch.judge_by(|side| {
            let claims = exact::claims(wire, side, &all, attached)?;
            if case.environment != Environment::Usual {
                as_many_resets(self.lab, side, &claims.all)?;
            }
            Ok(claims)
        })?;
        if let Some(program) = &self.settings.tracer
            && let [Some(client), Some(broker)] = [&outcome.client.said, &outcome.broker.said]
            && !all.iter().any(|one| one.is_coarse)
        {
            let findings = driver::pair::correlate(program, [client, broker])?;
            let differences = judge::pair::judge(&all, &findings);
            outcome.broker.differences.extend(differences);
        }
        Ok(outcome)
    }
}

/// Starts both tracers at once, since attaching takes a while.
pub(crate) fn attach(start: impl Fn(Side) -> Result<Tracer> + Sync) -> Result<[Tracer; 2]> {
    thread::scope(|scope| {
        let client = scope.spawn(|| start(Side::Client));
        let broker = start(Side::Broker);
        let client = join(client)?;
        Ok([client, broker?])
    })
}

/// Both tracers of a scenario.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    /// Of the client's host and of the broker's; none where only the wire is checked.
    tracers: Option<[Tracer; 2]>,
    /// When both were attached.
    attached: Moment,
    lab: &'a Lab,
    /// Whether a person wants to look around first.
    shell: bool,
}

impl Watch<'_> {
    /// Waits until the tracer of `side` has said something that fits; nothing if there is none.
    pub(crate) fn wait_for(
        &self,
        side: Side,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> Result<Option<Event>> {
        let Some([client, broker]) = &self.tracers else {
            return Ok(None);
        };
        let tracer = match side {
            Side::Client => client,
            Side::Broker => broker,
        };
        tracer.wait_for(what, patience, fits).map(Some)
    }

    /// Ends both tracers and judges what they said by what is expected of each host, which is
    /// asked for afterwards: whatever the tracers could see is on the lab's wire by then. Sockets
    /// that the scenario does not close must still be open.
    pub(crate) fn judge_by(self, claims: impl Fn(Side) -> Result<Claims>) -> Result<Outcome> {
        if self.shell {
            shell::open(self.lab)?;
        }
        self.lab.status().set("ending the tracers");
        let said = match self.tracers {
            Some([client, broker]) => [Some(client.finish()?), Some(broker.finish()?)],
            None => [None, None],
        };
        let timeline = Timeline::of(
            self.lab.journal(),
            self.lab.wire(),
            [said[0].as_ref(), said[1].as_ref()],
        );
        let connections = if timeline.is_empty() {
            Connections::default()
        } else {
            Connections::of(&self.lab.wire().sightings())
        };
        let [client_said, broker_said] = said;
        let mut outcome = Outcome {
            timeline,
            connections,
            client: HostOutcome::new(claims(Side::Client)?, client_said),
            broker: HostOutcome::new(claims(Side::Broker)?, broker_said),
        };
        let differences = judge::judge_together(&outcome.client.events(), &outcome.broker.events());
        outcome.client.differences.extend(differences);
        Ok(outcome)
    }
}

/// Makes sure that what a host is expected to report is what it had on its wire.
fn as_many_resets(lab: &Lab, side: Side, claims: &[Claim]) -> Result<()> {
    let expected = claims.iter().filter(|claim| claim.is_of_a_reset()).count();
    let what = format!("{expected} resets on the {side}'s wire");
    let seen = lab
        .wire()
        .wait_for_count(expected, &what, PATIENCE, |seen| {
            seen.leg == side && seen.has(Flags::RST)
        })?;
    if seen == expected {
        return Ok(());
    }
    Err(Error::Staging(format!(
        "{seen} resets on the {side}'s wire instead of {expected}"
    )))
}

/// What a tracer should have said, what it said, and the difference.
#[derive(Clone, Debug)]
pub(crate) struct HostOutcome {
    /// The truth.
    pub(crate) claims: Claims,
    /// Everything that the tracer said; `None` if there was none to be judged.
    pub(crate) said: Option<Said>,
    /// What is wrong with it.
    pub(crate) differences: Vec<String>,
}

impl HostOutcome {
    fn new(claims: Claims, said: Option<Said>) -> Self {
        let differences = said.as_ref().map(|said| judge::judge(&claims, said));
        Self {
            differences: differences.unwrap_or_default(),
            claims,
            said,
        }
    }

    /// The events about connections.
    pub(crate) fn events(&self) -> Vec<&Event> {
        let said = self.said.iter();
        said.flat_map(Said::about_connections).collect()
    }
}

/// How both tracers did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// On the client's host.
    pub(crate) client: HostOutcome,
    /// On the broker's host.
    pub(crate) broker: HostOutcome,
    /// What happened, where real programs took part.
    pub(crate) timeline: Timeline,
    /// What became of every connection, where real programs took part.
    pub(crate) connections: Connections,
}

impl Outcome {
    /// Both, in order.
    pub(crate) const fn hosts(&self) -> [(Side, &HostOutcome); 2] {
        [(Side::Client, &self.client), (Side::Broker, &self.broker)]
    }

    /// Whether neither tracer was wrong.
    pub(crate) const fn is_right(&self) -> bool {
        self.client.differences.is_empty() && self.broker.differences.is_empty()
    }
}
