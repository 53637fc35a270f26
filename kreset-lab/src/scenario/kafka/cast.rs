//! The broker, the clients and the tracers of one scenario.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    Moment, Side, driver,
    error::{Error, Result},
    judge::{
        Answer, Expected,
        ruling::{self, Ruling},
    },
    kafka::{
        broker::{self, Broker},
        certificates::Certificates,
        client::{self, Client, Job, Software},
        home::Home,
        scratch::Scratch,
    },
    net::{CLIENT_V4, packet::Flags},
    scenario::{HostOutcome, Outcome, Scene, Watch},
    trace::{
        ending::{Ending, What},
        wire::Sighting,
    },
};

/// How long the wire must be silent for everything that happened to have happened.
const SETTLED: Duration = Duration::from_millis(400);

/// How long clients may take to fail.
const SOON: Duration = Duration::from_secs(8);

/// How long a producer that is told to send all it can may take to have sent some: many programs
/// share the processors.
pub(super) const BUSY: Duration = Duration::from_mins(1);

/// How long silence may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is on the stage, and what they need.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) home: Home,
    pub(super) scratch: Scratch,
    pub(super) certificates: Option<Certificates>,
}

impl<'a> Cast<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Result<Self> {
        Ok(Self {
            scene,
            home: Home::find()?,
            scratch: Scratch::new()?,
            certificates: None,
        })
    }

    /// With certificates, for brokers that speak TLS.
    pub(super) fn with_certificates(scene: &'a Scene<'a>) -> Result<Self> {
        let mut cast = Self::new(scene)?;
        cast.certificates = Some(Certificates::make(&cast.scratch)?);
        Ok(cast)
    }

    pub(super) fn broker(&self, plan: broker::Plan) -> Result<Broker> {
        self.scene.lab.status().set("starting a broker");
        Broker::start(
            self.scene.lab,
            &self.home,
            &self.scratch,
            plan,
            self.certificates.as_ref(),
        )
    }

    pub(super) fn client(&self, plan: &client::Plan, broker: &Broker) -> Result<Client> {
        let status = self.scene.lab.status();
        status.set("starting a client");
        let client = Client::start(
            self.scene.lab,
            &self.home,
            &self.scratch,
            plan,
            &broker.bootstrap(),
        )?;
        status.set("acting out what clients and brokers do");
        Ok(client)
    }

    /// Writes a first record, since consumers read topics that exist.
    pub(super) fn found_topic(&self, software: Software, broker: &Broker) -> Result<()> {
        let plan = client::Plan::new(software, Job::Producer).named("founder");
        let mut founder = self.client(&plan, broker)?;
        founder.must("hello")?;
        founder.must("send 1 100")?;
        founder.close()
    }

    /// Starts the tracers, for as long as real programs need.
    pub(super) fn watch(&self) -> Result<Watch<'a>> {
        self.watch_with(&driver::Options::default())
    }

    /// The same, with a silence of `idle` in it.
    pub(super) fn watch_past(&self, idle: Duration) -> Result<Watch<'a>> {
        self.watch_with(&driver::Options::default().longer_by(2 * idle))
    }

    pub(super) fn watch_with(&self, options: &driver::Options) -> Result<Watch<'a>> {
        let options = options.clone().without_noise();
        self.scene
            .watch_with(&options.longer_by(Duration::from_mins(5)))
    }

    /// Waits until nothing was on the wire for `silence`.
    pub(super) fn wait_for_silence(&self, silence: Duration) -> Result<()> {
        let seconds = silence.as_secs_f64();
        self.scene
            .lab
            .status()
            .set(format!("waiting for {seconds:.1} s of silence on the wire"));
        let patience = silence + PATIENCE;
        let deadline = Instant::now() + patience;
        loop {
            let last = self.scene.lab.wire().last();
            let quiet = last.map_or(silence, |last| Moment::now().since(last));
            let left = silence.saturating_sub(quiet);
            if left.is_zero() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Deadline {
                    what: format!("{silence:?} without a packet"),
                    waited: patience,
                });
            }
            self.scene.lab.pause(left)?;
        }
    }

    /// Allows the client's host `rate` new connections a second.
    pub(super) fn limit_connection_rate(&self, broker: &Broker, rate: u32) -> Result<()> {
        broker.configure(
            self.scene.lab,
            &[
                "--add-config",
                &format!("connection_creation_rate={rate}"),
                "--entity-type",
                "ips",
                "--entity-name",
                &CLIENT_V4.to_string(),
            ],
        )
    }

    /// Waits until `count` connections have come to an end on the client's wire.
    pub(super) fn wait_for_failures(&self, count: usize) -> Result<()> {
        let wire = self.scene.lab.wire();
        let deadline = Instant::now() + SOON;
        let is_end = |seen: &Sighting| {
            seen.leg == Side::Client
                && [Flags::FIN, Flags::RST]
                    .into_iter()
                    .any(|flag| seen.segment.flags.contain(flag))
        };
        loop {
            let ends = wire.sightings().into_iter().filter(is_end);
            let ended: BTreeSet<_> = ends.map(|seen| seen.client_port()).collect();
            if ended.len() >= count {
                return Ok(());
            }
            // The next one, whoever's it is.
            let so_far = wire.sightings().len();
            let left = deadline.saturating_duration_since(Instant::now());
            wire.wait_for_count(so_far + 1, "connections to fail", left, |_| true)?;
        }
    }

    /// Waits until every connection that the wire of `leg` has had so far has come to an end.
    pub(super) fn wait_for_end_of_all(&self, leg: Side, patience: Duration) -> Result<()> {
        let wire = self.scene.lab.wire();
        let with = |flags: &[Flags]| -> BTreeSet<u16> {
            let seen = wire.sightings().into_iter().filter(|seen| {
                seen.leg == leg && flags.iter().any(|flag| seen.segment.flags.contain(*flag))
            });
            seen.map(|seen| seen.client_port()).collect()
        };
        let begun = with(&[Flags::SYN]);
        self.wait_until("all connections to end", patience, || {
            with(&[Flags::FIN, Flags::RST]).is_superset(&begun)
        })
    }

    fn wait_until(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !holds() {
            if Instant::now() > deadline {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    waited: patience,
                });
            }
            self.scene.lab.pause(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Waits until the client has answered whatever FIN it got with its own, so that no connection
    /// is caught half closed. Some never are: a client may have died of what it was told.
    fn wait_for_answers(&self) -> Result<()> {
        let wire = self.scene.lab.wire();
        let answered = || {
            Ending::all(wire, Side::Client).iter().all(|ending| {
                ending.what != What::Closed
                    || ending
                        .packets
                        .iter()
                        .any(|seen| !seen.leaving && seen.segment.flags.contain(Flags::FIN))
            })
        };
        match self.wait_until("answers to FINs", Duration::from_secs(2), answered) {
            Ok(()) | Err(Error::Deadline { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stops the clients where they are, so that nothing new begins and nothing is closed, and
    /// waits until the wire is silent.
    pub(super) fn curtain(&self, clients: &mut [&mut Client]) -> Result<()> {
        self.wait_for_answers()?;
        if self.scene.has_visitors() {
            return Ok(());
        }
        for client in clients {
            client.process().freeze()?;
        }
        self.wait_for_silence(SETTLED)
    }
}

/// Judges what the tracers said, with `rule` for each connection that ended.
pub(super) fn judge(
    scene: &Scene<'_>,
    watch: Watch<'_>,
    rule: impl Fn(&Ending) -> Ruling,
) -> Result<Outcome> {
    watch.judge_by(|side| Expected::Each(ruling::claims(scene.lab.wire(), side, &rule)))
}

/// The same of a scenario that is about how connections end: one of the hosts at least must have
/// something to tell, or have told something, or nothing was shown.
pub(super) fn judge_an_ending(
    scene: &Scene<'_>,
    watch: Watch<'_>,
    rule: impl Fn(&Ending) -> Ruling,
) -> Result<Outcome> {
    let outcome = judge(scene, watch, rule)?;
    let shows = |host: &HostOutcome| match host.said {
        Some(_) => host.expected.demands() || !host.told().is_empty(),
        None => host.expected.allows(),
    };
    if outcome.hosts().iter().any(|(_, host)| shows(host)) {
        return Ok(outcome);
    }
    Err(Error::Staging(
        "nothing happened that a tracer would have to tell of".to_owned(),
    ))
}

/// A client that never gets through, for a reason that both hosts should name.
pub(super) fn fail(
    cast: &Cast<'_>,
    broker: broker::Plan,
    client: &client::Plan,
    reason: Answer,
) -> Result<Outcome> {
    let broker = cast.broker(broker)?;
    fail_at(cast, &broker, client, reason)
}

/// The same, at a broker that runs already.
pub(super) fn fail_at(
    cast: &Cast<'_>,
    broker: &Broker,
    client: &client::Plan,
    reason: Answer,
) -> Result<Outcome> {
    let scene = cast.scene;
    let watch = cast.watch()?;
    // Two attempts show it as well as twenty.
    let client = client
        .clone()
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500);
    let mut client = cast.client(&client, broker)?;
    client.tell("hello")?;
    cast.wait_for_failures(1)?;
    // Not every client survives its first attempt, so that there may be no second one.
    match cast.wait_for_failures(2) {
        Ok(()) | Err(Error::Deadline { .. }) => {}
        Err(error) => return Err(error),
    }
    cast.curtain(&mut [&mut client])?;
    judge_an_ending(scene, watch, |ending| failed(ending, reason))
}

/// Whatever ended, ended for that reason. The host whose own application gave up knows that, and
/// need not be told.
pub(super) fn failed(ending: &Ending, reason: Answer) -> Ruling {
    if ending.is_refusal() {
        return Ruling::Must(vec![Answer::REFUSED]);
    }
    match ending.what {
        What::Received | What::Closed => Ruling::Must(vec![reason]),
        What::Sent | What::Left => Ruling::May(vec![reason]),
        What::TimedOut => Ruling::Nothing,
    }
}
