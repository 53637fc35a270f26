//! The broker, the clients and the tracers of one scenario with real programs.

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    Lab, Moment, Side,
    case::{HostOutcome, Outcome, Scenario, Session, Watch},
    device::Ttl,
    driver,
    error::{Error, Result},
    judge::{
        Answer,
        ruling::{self, Ruling},
    },
    kafka::{
        broker::{self, Broker, Protocol},
        certificates::Certificates,
        client::{self, Client, Job, Software},
        home::Home,
        scratch::Scratch,
    },
    net::{CLIENT_V4, packet::Flags},
    trace::{
        ending::{Ending, What},
        wire::Sighting,
    },
    util::program::{self, JAVA},
};

/// How long the wire must be silent for everything that happened to have happened.
const SETTLED: Duration = Duration::from_millis(400);

/// How long clients may take to fail.
const SOON: Duration = Duration::from_secs(8);

/// How long a producer may take to have sent some of all that it can: many programs
/// share the processors.
pub(super) const BUSY: Duration = Duration::from_mins(1);

/// The order that producers get most often: one record of 100 bytes.
pub(super) const SEND: &str = "send 1 100";

/// How long silence may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real programs of one scenario, and what they need.
#[derive(Debug)]
pub(super) struct KafkaSetup<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) lab: &'a Lab,
    pub(super) home: Home,
    pub(super) scratch: Scratch,
    certificates: OnceCell<Certificates>,
}

impl<'a> KafkaSetup<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Result<Self> {
        Ok(Self {
            session,
            lab: session.lab,
            home: Home::find()?,
            scratch: Scratch::new()?,
            certificates: OnceCell::new(),
        })
    }

    /// Certificates, made when they are first needed.
    pub(super) fn certificates(&self) -> Result<&Certificates> {
        if let Some(made) = self.certificates.get() {
            return Ok(made);
        }
        let made = Certificates::make(&self.scratch)?;
        Ok(self.certificates.get_or_init(|| made))
    }

    pub(super) fn broker(&self, plan: broker::Plan) -> Result<Broker> {
        self.lab.status().set("starting a broker");
        let certificates = plan.speaks_tls().then(|| self.certificates()).transpose()?;
        Broker::start(self.lab, &self.home, &self.scratch, plan, certificates)
    }

    pub(super) fn client(&self, plan: &client::Plan, broker: &Broker) -> Result<Client> {
        let status = self.lab.status();
        status.set("starting a client");
        let client = Client::start(
            self.lab,
            &self.home,
            &self.scratch,
            plan,
            &broker.bootstrap(),
        )?;
        status.set("acting out what clients and brokers do");
        Ok(client)
    }

    /// A client that has got through to the broker.
    pub(super) fn ready_client(&self, plan: &client::Plan, broker: &Broker) -> Result<Client> {
        let mut client = self.client(plan, broker)?;
        client.must("hello")?;
        Ok(client)
    }

    /// A producer that has sent a record.
    pub(super) fn producer(&self, plan: &client::Plan, broker: &Broker) -> Result<Client> {
        let mut client = self.ready_client(plan, broker)?;
        client.must(SEND)?;
        Ok(client)
    }

    /// Has a producer send many records, and waits until that is under way: until megabytes have
    /// crossed.
    pub(super) fn make_busy(&self, producer: &mut Client) -> Result<()> {
        producer.order("send 60000 1000")?;
        self.lab
            .wire()
            .wait_for_count(200, "a producer to be busy", BUSY, |seen| {
                seen.carries_data_from(Side::Client)
            })
            .map(drop)
    }

    /// A broker behind a device that forgets after `idle`, and resets who sends next.
    pub(super) fn behind_device(&self, idle: Duration) -> Result<Broker> {
        let device = self.lab.middlebox();
        device.reset_on_send(idle, Ttl::Own)?;
        self.plain_broker()
    }

    /// A broker without TLS and authentication.
    pub(super) fn plain_broker(&self) -> Result<Broker> {
        self.broker(broker::Plan::new(Protocol::Plaintext))
    }

    /// Writes a first record, since consumers read topics that exist.
    pub(super) fn found_topic(&self, software: Software, broker: &Broker) -> Result<()> {
        let plan = client::Plan::new(software, Job::Producer).named("founder");
        self.producer(&plan, broker)?.close()
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
        self.session
            .watch_with(&options.longer_by(Duration::from_mins(5)))
    }

    /// Waits until nothing was on the wire for `silence`.
    pub(super) fn wait_for_silence(&self, silence: Duration) -> Result<()> {
        let seconds = silence.as_secs_f64();
        self.lab
            .status()
            .set(format!("waiting for {seconds:.1} s of silence on the wire"));
        let what = format!("{silence:?} without a packet");
        self.lab.stop().until_holds(&what, silence + PATIENCE, || {
            let last = self.lab.wire().last();
            last.is_none_or(|last| Moment::now().since(last) >= silence)
        })
    }

    /// Allows the client's host `rate` new connections a second.
    pub(super) fn limit_connection_rate(&self, broker: &Broker, rate: u32) -> Result<()> {
        broker.configure(
            self.lab,
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

    /// Connections that have come to an end on the client's wire.
    pub(super) fn failures(&self) -> usize {
        let is_end = |seen: &Sighting| {
            seen.leg == Side::Client
                && [Flags::FIN, Flags::RST]
                    .into_iter()
                    .any(|flag| seen.has(flag))
        };
        let ends = self.lab.wire().sightings().into_iter().filter(is_end);
        let ended: BTreeSet<_> = ends.map(|seen| seen.client_port()).collect();
        ended.len()
    }

    /// Waits until `count` connections have come to an end on the client's wire.
    pub(super) fn wait_for_failures(&self, count: usize) -> Result<()> {
        let wire = self.lab.wire();
        let deadline = Instant::now() + SOON;
        loop {
            if self.failures() >= count {
                return Ok(());
            }
            // The next one, of any connection.
            let so_far = wire.sightings().len();
            let left = deadline.saturating_duration_since(Instant::now());
            wire.wait_for_count(so_far + 1, "connections to fail", left, |_| true)?;
        }
    }

    /// Waits until a reset is on its way to `victim`.
    pub(super) fn wait_for_reset(&self, victim: Side, patience: Duration) -> Result<()> {
        let wire = self.lab.wire();
        let reset = wire.wait_for("a reset", patience, |seen| seen.resets(victim));
        reset.map(drop)
    }

    /// Waits until every connection that the wire of `leg` has had so far has come to an end.
    pub(super) fn wait_for_end_of_all(&self, leg: Side, patience: Duration) -> Result<()> {
        let wire = self.lab.wire();
        let with = |flags: &[Flags]| -> BTreeSet<u16> {
            let seen = wire
                .sightings()
                .into_iter()
                .filter(|seen| seen.leg == leg && flags.iter().any(|flag| seen.has(*flag)));
            seen.map(|seen| seen.client_port()).collect()
        };
        let begun = with(&[Flags::SYN]);
        let stop = self.lab.stop();
        stop.until_holds("all connections to end", patience, || {
            with(&[Flags::FIN, Flags::RST]).is_superset(&begun)
        })
    }

    /// Waits until the client has answered whatever FIN it got with its own, so that no connection
    /// is caught half closed. Some never are: a client may have died of its order.
    fn wait_for_answers(&self) -> Result<()> {
        let wire = self.lab.wire();
        let answered = || {
            Ending::all(wire, Side::Client).iter().all(|ending| {
                ending.what != What::Closed
                    || ending
                        .packets
                        .iter()
                        .any(|seen| !seen.leaving && seen.has(Flags::FIN))
            })
        };
        let (stop, patience) = (self.lab.stop(), Duration::from_secs(2));
        match stop.until_holds("answers to FINs", patience, answered) {
            Ok(()) | Err(Error::Deadline { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stops the clients where they are, so that nothing new begins and nothing is closed, and
    /// waits until the wire is silent.
    pub(super) fn settle(&self, clients: &mut [&mut Client]) -> Result<()> {
        self.wait_for_answers()?;
        if self.session.has_visitors() {
            return Ok(());
        }
        for client in clients {
            client.process().freeze()?;
        }
        self.wait_for_silence(SETTLED)
    }

    /// Judges what the tracers said, with `rule` for each connection that ended.
    pub(super) fn judge(
        &self,
        watch: Watch<'_>,
        rule: impl Fn(&Ending) -> Ruling,
    ) -> Result<Outcome> {
        watch.judge_by(|side| Ok(ruling::claims(self.lab.wire(), side, &rule)))
    }

    /// The same of a scenario that is about how connections end: one of the hosts at least must
    /// have something to report, or have reported something, or nothing was shown.
    pub(super) fn judge_an_ending(
        &self,
        watch: Watch<'_>,
        rule: impl Fn(&Ending) -> Ruling,
    ) -> Result<Outcome> {
        let outcome = self.judge(watch, rule)?;
        let shows = |host: &HostOutcome| match host.said {
            Some(_) => host.claims.demand() || !host.events().is_empty(),
            None => !host.claims.all.is_empty(),
        };
        if outcome.hosts().iter().any(|(_, host)| shows(host)) {
            return Ok(outcome);
        }
        Err(Error::Staging(
            "nothing happened that a tracer would have to report".to_owned(),
        ))
    }

    /// A client that never gets through, for a reason that both hosts should name.
    pub(super) fn fail(
        &self,
        broker: broker::Plan,
        client: &client::Plan,
        reason: Answer,
    ) -> Result<Outcome> {
        let broker = self.broker(broker)?;
        self.fail_at(&broker, client, reason)
    }

    /// The same, at a broker that runs already.
    pub(super) fn fail_at(
        &self,
        broker: &Broker,
        client: &client::Plan,
        reason: Answer,
    ) -> Result<Outcome> {
        let watch = self.watch()?;
        // Two attempts show it as well as twenty.
        let client = client
            .clone()
            .with("reconnect.backoff.ms", 500)
            .with("reconnect.backoff.max.ms", 500);
        let mut client = self.client(&client, broker)?;
        client.order("hello")?;
        self.wait_for_failures(1)?;
        // Not every client survives its first attempt, so that there may be no second one.
        match self.wait_for_failures(2) {
            Ok(()) | Err(Error::Deadline { .. }) => {}
            Err(error) => return Err(error),
        }
        self.settle(&mut [&mut client])?;
        self.judge_an_ending(watch, |ending| failed(ending, reason))
    }
}

/// The device's resets are the device's, at whichever end they arrive.
pub(super) fn forged(ending: &Ending) -> Ruling {
    match ending.what {
        What::Received if ending.is_forged() => Ruling::Must(vec![Answer::IDLE_ON_SEND]),
        _ => Ruling::Nothing,
    }
}

/// Whatever ended, ended for that reason. The host whose own application gave up knows that, and
/// no event is needed there.
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

/// Makes sure that the broker and the client of a scenario are installed.
pub(super) fn check_parts(name: &str) -> Result<()> {
    let home = Home::find()?;
    program::command(JAVA)?;
    match name.rsplit_once('.') {
        Some((_, "librdkafka")) => home.python().map(drop),
        Some((_, "kafkajs")) => home.node().map(drop),
        _ => Ok(()),
    }
}

/// The same scenario with each client, as `name.java`, `name.librdkafka`.
pub(super) fn with_each(
    clients: &'static [Software],
    name: &str,
    about: &'static str,
    script: impl Fn(&KafkaSetup<'_>, Software) -> Result<Outcome> + Clone + Send + Sync + 'static,
) -> impl Iterator<Item = Scenario> {
    let name = name.to_owned();
    clients.iter().map(move |&software| {
        let script = script.clone();
        let name = format!("{name}.{}", software.name());
        alone(&name, about, move |setup| script(setup, software))
    })
}

/// A scenario with a real broker.
pub(super) fn alone(
    name: &str,
    about: &'static str,
    script: impl Fn(&KafkaSetup<'_>) -> Result<Outcome> + Send + Sync + 'static,
) -> Scenario {
    Scenario::new(name, about, move |session| {
        script(&KafkaSetup::new(session)?)
    })
    .with_real_parts(check_parts)
}
