//! What scripts are written with.

use std::{panic::resume_unwind, path::Path, thread, time::Duration};

use super::{Settings, keep, shell};
use crate::{
    Lab, Moment, Side,
    device::Ttl,
    driver::{self, Said, Tracer},
    error::{Error, Result},
    event::{self, Event},
    judge::{self, Age, Answer, Expected, Measured, Truth},
    net::packet::Flags,
    trace::{
        connections::Connections,
        timeline::Timeline,
        wire::{Sighting, Silence},
    },
};

/// How long a packet that was provoked may take to show up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lab, and what the run's user wants.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The network to act in.
    pub lab: &'a Lab,
    settings: &'a Settings,
    /// Where this scenario's traces are kept, if they are.
    keep: Option<&'a Path>,
}

impl<'a> Scene<'a> {
    /// Whether a person will look around, so that nothing may be stopped where it is.
    #[must_use]
    pub const fn has_visitors(&self) -> bool {
        self.settings.shell
    }

    /// After how long the devices forget a silent connection, when they are really `default`:
    /// what the run's user says, or that much scaled down.
    #[must_use]
    pub fn scaled(&self, default: Duration) -> Duration {
        match self.settings.scale {
            // Conntrack counts in whole seconds, from 1.
            Some(scale) => Duration::from_secs(default.div_f64(scale).as_secs().max(1)),
            None => self.idle_timeout(),
        }
    }

    pub(super) const fn new(lab: &'a Lab, settings: &'a Settings, keep: Option<&'a Path>) -> Self {
        Self {
            lab,
            settings,
            keep,
        }
    }

    /// The devices' idle timeout.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// Says nothing until every device has forgotten the connection.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn outlast_the_device(&self) -> Result<()> {
        self.lab
            .silence(self.idle_timeout() + Duration::from_millis(500))
    }

    /// Starts a tracer on each host, with all events shown, and waits until both are attached.
    ///
    /// # Errors
    /// As [`Tracer::start`].
    pub fn watch(&self) -> Result<Watch<'a>> {
        self.watch_with(&driver::Options::default())
    }

    /// Starts a tracer on each host, and waits until both are attached.
    ///
    /// # Errors
    /// As [`Tracer::start`].
    pub fn watch_with(&self, options: &driver::Options) -> Result<Watch<'a>> {
        let patience = if self.settings.shell {
            shell::LONGEST
        } else {
            2 * self.idle_timeout()
        };
        self.lab.status().set("starting the tracers");
        let options = &options.clone().longer_by(patience);
        let tracers = match &self.settings.tracer {
            Some(program) => {
                let trace = |side| {
                    let options = match self.keep {
                        Some(directory) => options.clone().record(&keep::records(directory, side)),
                        None => options.clone(),
                    };
                    self.lab.trace(side, program, &options)
                };
                // Both at once, since attaching takes a while.
                let (client, broker) = thread::scope(|scope| {
                    let client = scope.spawn(|| trace(Side::Client));
                    let broker = trace(Side::Broker);
                    (client.join(), broker)
                });
                let client = client.unwrap_or_else(|panic| resume_unwind(panic))?;
                Some([client, broker?])
            }
            None => None,
        };
        Ok(Watch {
            tracers,
            lab: self.lab,
            all: options.shows_all(),
            shell: self.settings.shell,
        })
    }

    /// Reads off the wire what happened to the connection from `port`: a reset reached `victim`,
    /// drawn by the first packet from `acted` on.
    ///
    /// # Errors
    /// [`Error::Deadline`] if no reset came.
    pub fn drawn(&self, port: u16, victim: Side, acted: Moment) -> Result<Story> {
        let reset = self.reset_of(port, victim)?;
        let trigger = self.first_since(port, acted)?;
        self.story(reset, &trigger)
    }

    /// Reads off the wire what happened to the connection from `port`: a reset reached `victim`
    /// by itself.
    ///
    /// # Errors
    /// [`Error::Deadline`] if no reset came.
    pub fn spontaneous(&self, port: u16, victim: Side) -> Result<Story> {
        let reset = self.reset_of(port, victim)?;
        let trigger = reset.clone();
        self.story(reset, &trigger)
    }

    /// Reads off the wire what happened to the client's connection from `port`: what it sent from
    /// `acted` on was never acknowledged.
    ///
    /// # Errors
    /// [`Error::Deadline`] if it sent nothing.
    pub fn timed_out(&self, port: u16, acted: Moment) -> Result<Truth> {
        let trigger = self.first_since(port, acted)?;
        Ok(Truth {
            kind: "timeout",
            direction: None,
            provoked_by: Some("data"),
            // The end of the connection left no packet to tell its age by.
            age: None,
            ..self
                .story(trigger.clone(), &trigger)?
                .sent(&[Answer::IDLE_DROP])
        })
    }

    fn first_since(&self, port: u16, acted: Moment) -> Result<Sighting> {
        self.lab.wire().wait_for("a trigger", PATIENCE, |seen| {
            seen.client_port() == port && seen.at >= acted
        })
    }

    fn reset_of(&self, port: u16, victim: Side) -> Result<Sighting> {
        let what = format!("a reset of the connection from port {port} towards the {victim}");
        self.lab.wire().wait_for(&what, PATIENCE, |seen| {
            seen.client_port() == port && seen.resets(victim)
        })
    }

    fn story(&self, reset: Sighting, trigger: &Sighting) -> Result<Story> {
        let wire = self.lab.wire();
        let began = wire
            .began(reset.client_port())
            .ok_or_else(|| Error::Staging("the connection has no beginning".to_owned()))?;
        Ok(Story {
            // A refused connection carried nothing before its SYN.
            silence: wire.silence_before(trigger).unwrap_or_default(),
            age: reset.at.since(began),
            handshake_ttl: wire.handshake_ttl(reset.client_port(), reset.leg),
            reset,
        })
    }
}

/// What became of one connection, by the wire.
#[derive(Clone, Debug)]
pub struct Story {
    /// The reset as it left the router.
    pub reset: Sighting,
    /// How long nothing was said before what drew the reset, or before the reset if nothing did.
    pub silence: Silence,
    /// The TTL with which the reset's receiver got the first packet of the other end.
    pub handshake_ttl: Option<u8>,
    /// From the connection's first SYN to the reset.
    pub age: Duration,
}

impl Story {
    /// Makes sure that the router made the reset up.
    ///
    /// # Errors
    /// [`Error::Staging`] if it did not.
    pub fn forged(self, ttl: Ttl) -> Result<Self> {
        self.of(ttl.value(), "the router")
    }

    /// Makes sure that the other host sent the reset.
    ///
    /// # Errors
    /// [`Error::Staging`] if it did not.
    pub fn genuine(self) -> Result<Self> {
        // The hosts send 64, and the router takes one off.
        self.of(63, "the other host")
    }

    fn of(self, ttl: u8, origin: &str) -> Result<Self> {
        if self.reset.segment.ttl == ttl {
            return Ok(self);
        }
        Err(Error::Staging(format!(
            "a reset from {origin} should have a TTL of {ttl}, this one has {}",
            self.reset.segment.ttl
        )))
    }

    /// What the host that got the reset should say, which knows all of it.
    #[must_use]
    pub fn received(&self, answers: &[Answer]) -> Truth {
        let segment = &self.reset.segment;
        Truth {
            reset: Some(event::Reset {
                flags: Some(segment.flags.to_string()),
                timestamps: Some(segment.timestamps),
                ttl: Some(segment.ttl),
                handshake_ttl: self.handshake_ttl,
                ip_id: segment.ip_id,
                window: Some(segment.window),
            }),
            ..self.told(self.reset.from().other(), "received", answers)
        }
    }

    /// What the host that sent the reset should say.
    #[must_use]
    pub fn sent(&self, answers: &[Answer]) -> Truth {
        self.told(self.reset.from(), "sent", answers)
    }

    fn told(&self, role: Side, direction: &'static str, answers: &[Answer]) -> Truth {
        let segment = &self.reset.segment;
        let (client, broker) = match self.reset.from() {
            Side::Client => (segment.source, segment.destination),
            Side::Broker => (segment.destination, segment.source),
        };
        Truth {
            kind: "reset",
            direction: Some(direction),
            role,
            answers: answers.to_vec(),
            unsure: None,
            state: None,
            provoked_by: None,
            idle: Some(Measured::Known(self.silence.data)),
            wire_idle: Some(Measured::Known(self.silence.wire)),
            reset: None,
            age: Some(Age::Exact(Measured::Known(self.age))),
            client,
            broker,
        }
    }
}

impl Truth {
    /// Adds what drew the reset.
    #[must_use]
    pub const fn provoked_by(mut self, what: &'static str) -> Self {
        self.provoked_by = Some(what);
        self
    }

    /// Adds the state of the connection.
    #[must_use]
    pub const fn in_state(mut self, state: &'static str) -> Self {
        self.state = Some(state);
        self
    }

    /// For a host whose socket is gone by the time of the reset: it need not remember the times,
    /// but must not make them up.
    #[must_use]
    pub fn without_socket(mut self) -> Self {
        let if_said = |time: Measured| Measured::IfSaid(time.truth());
        self.idle = self.idle.map(if_said);
        self.wire_idle = self.wire_idle.map(if_said);
        if let Some(Age::Exact(age)) = self.age {
            self.age = Some(Age::Exact(Measured::IfSaid(age.truth())));
        }
        self
    }

    /// For a tracer that saw the connection for the last `seen` of its life only.
    #[must_use]
    pub const fn at_least(mut self, seen: Duration) -> Self {
        if let Some(Age::Exact(age)) = self.age {
            let truth = age.truth();
            self.age = Some(Age::AtLeast { seen, truth });
        }
        self
    }

    /// For a connection of which nothing was said before the reset, so that its silence has no
    /// meaning.
    #[must_use]
    pub const fn without_idle(mut self) -> Self {
        self.idle = None;
        self.without_wire_idle()
    }

    /// For a host to which not every packet of the other end leaves a trace.
    #[must_use]
    pub const fn without_wire_idle(mut self) -> Self {
        self.wire_idle = None;
        self
    }

    /// Says that nobody can be this sure.
    #[must_use]
    pub const fn less_sure_than(mut self, limit: f64) -> Self {
        self.unsure = Some(limit);
        self
    }
}

/// Both tracers of a scenario.
#[derive(Debug)]
pub struct Watch<'a> {
    /// Of the client's host and of the broker's; none when nobody is judged.
    tracers: Option<[Tracer; 2]>,
    lab: &'a Lab,
    /// Whether the tracers show every reset that crosses the wire.
    all: bool,
    /// Whether a person wants to look around first.
    shell: bool,
}

impl Watch<'_> {
    /// Waits until the tracer of `side` has said something that fits; nothing if nobody is judged.
    ///
    /// # Errors
    /// As [`Tracer::wait_for`].
    pub fn wait_for(
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

    /// Ends both tracers and judges what they said. The scenario's sockets must still be open.
    ///
    /// # Errors
    /// As [`Tracer::finish`].
    pub fn judge(
        self,
        client: impl Into<Expected>,
        broker: impl Into<Expected>,
    ) -> Result<Outcome> {
        let expected = [client.into(), broker.into()];
        self.judge_by(|side| expected[usize::from(side == Side::Broker)].clone())
    }

    /// Ends both tracers and judges what they said by what is expected of each host, which is
    /// asked for afterwards: whatever the tracers could see is on the lab's wire by then.
    ///
    /// # Errors
    /// As [`Tracer::finish`].
    pub fn judge_by(self, expected: impl Fn(Side) -> Expected) -> Result<Outcome> {
        if self.shell {
            shell::open(self.lab)?;
        }
        self.lab.status().set("ending the tracers");
        let said = match self.tracers {
            Some([client, broker]) => [Some(client.finish()?), Some(broker.finish()?)],
            None => [None, None],
        };
        let expected = Side::BOTH.map(expected);
        if self.all {
            for (side, expected) in Side::BOTH.into_iter().zip(&expected) {
                as_many_resets(self.lab, side, expected.resets())?;
            }
        }
        let [client, broker] = expected;
        let [client_said, broker_said] = said;
        let timeline = Timeline::of(
            self.lab.journal(),
            self.lab.wire(),
            [client_said.as_ref(), broker_said.as_ref()],
        );
        let connections = if timeline.is_empty() {
            Connections::default()
        } else {
            Connections::of(&self.lab.wire().sightings())
        };
        let mut outcome = Outcome {
            timeline,
            connections,
            client: HostOutcome::new(client, client_said),
            broker: HostOutcome::new(broker, broker_said),
        };
        // One event each: of the same connection.
        let one_connection = [&outcome.client, &outcome.broker]
            .iter()
            .all(|host| !matches!(host.expected, Expected::Each(_)));
        if one_connection
            && let ([one], [other]) = (&*outcome.client.told(), &*outcome.broker.told())
            && let Some(difference) = judge::judge_together(one, other)
        {
            outcome.client.differences.push(difference);
        }
        Ok(outcome)
    }
}

/// Makes sure that what a host is expected to tell of is what it had on its wire.
fn as_many_resets(lab: &Lab, side: Side, expected: usize) -> Result<()> {
    let what = format!("{expected} resets on the {side}'s wire");
    let seen = lab
        .wire()
        .wait_for_count(expected, &what, PATIENCE, |seen| {
            seen.leg == side && seen.segment.flags.contain(Flags::RST)
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
pub struct HostOutcome {
    /// The truth.
    pub expected: Expected,
    /// Everything that the tracer said; `None` if there was none to be judged.
    pub said: Option<Said>,
    /// What is wrong with it.
    pub differences: Vec<String>,
}

impl HostOutcome {
    fn new(expected: Expected, said: Option<Said>) -> Self {
        let differences = said
            .as_ref()
            .map(|said| judge::judge(&expected, said))
            .unwrap_or_default();
        Self {
            expected,
            said,
            differences,
        }
    }

    /// The events about connections.
    #[must_use]
    pub fn told(&self) -> Vec<&Event> {
        self.said
            .iter()
            .flat_map(|said| &said.events)
            .filter(|event| event.is_about_a_connection())
            .collect()
    }
}

/// How both tracers did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// On the client's host.
    pub client: HostOutcome,
    /// On the broker's host.
    pub broker: HostOutcome,
    /// What happened, where real programs took part.
    pub timeline: Timeline,
    /// What became of every connection, where real programs took part.
    pub connections: Connections,
}

impl Outcome {
    /// Both, in order.
    #[must_use]
    pub const fn hosts(&self) -> [(Side, &HostOutcome); 2] {
        [(Side::Client, &self.client), (Side::Broker, &self.broker)]
    }

    /// Whether nobody was wrong.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.client.differences.is_empty() && self.broker.differences.is_empty()
    }
}

/// Waits until a FIN of each side has crossed, and the last one was acknowledged.
pub(super) fn wait_for_orderly_end(scene: &Scene<'_>, port: u16) -> Result<()> {
    let wire = scene.lab.wire();
    for side in Side::BOTH {
        let what = format!("the {side}'s FIN");
        let fin = wire.wait_for(&what, PATIENCE, |seen| {
            seen.client_port() == port && seen.comes_from(side, Flags::FIN)
        })?;
        wire.wait_for("its acknowledgement", PATIENCE, |seen| {
            seen.client_port() == port
                && seen.comes_from(side.other(), Flags::ACK)
                && seen.segment.acknowledgement == fin.segment.next_sequence()
        })?;
    }
    Ok(())
}
