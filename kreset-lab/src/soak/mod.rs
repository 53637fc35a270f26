//! Everything at once for a while, and then a reconciliation.
//!
//! Real Kafka traffic, resets of every cause, sinks that fail, tracers that are ended, all at
//! random; at the end each reset that was on a wire is held against the events, one by one.
//!
//! The truth comes from the wire ([`crate::trace::follow`]) and from what the lab knows it did ([`acts`]);
//! neither asks a tracer.

pub mod acts;
pub mod attack;
pub mod delivery;
pub mod disk;
pub mod faults;
pub mod level;
pub mod receiver;
pub mod reconcile;
pub mod report;
pub mod spool;
pub mod traffic;
pub mod watch;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use self::{
    acts::Journal,
    disk::Disk,
    faults::{Destinations, pause},
    receiver::{Receiver, Speech},
    reconcile::End,
    report::{Host, Report},
    watch::Watch,
};
use crate::{
    Lab, Moment, PORT, Side, Stop,
    case::{self, Distances, Environment, Testbed},
    error::{Error, Result},
    kafka::scratch::Scratch,
    trace::follow::Follower,
    trace::wire::Wire,
    util::{limits::allow_open_files, lock::lock, worker::join},
};

/// Cases that run at once.
const ACTORS: usize = 16;
/// How long the lab's memory of the wire reaches back: longer than any case is silent.
const MEMORY: Duration = Duration::from_mins(3);
/// How long no receiver may get anything at the end while something is due: a sink that failed
/// tries again after half a minute.
const DELIVERED: Duration = Duration::from_secs(150);
/// How many more tracers may deliver at the end what others left in their spools.
const RUNS: u32 = 10;
/// How long the wire must be silent at the end.
const SILENT: Duration = Duration::from_secs(2);
/// How often a tracer is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tracer.
    pub tracer: PathBuf,
    /// How long things go on.
    pub time: Duration,
    /// What all choices follow from.
    pub seed: u64,
    /// Whether real brokers and clients take part.
    pub kafka: bool,
    /// Whether somebody attacks all of it.
    pub attack: bool,
}

/// Runs until the time is over or `stop` is requested, and then reconciles; `progress` is
/// called with how far it is.
pub fn run(settings: &Settings, stop: &Stop, progress: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    allow_open_files(20_000)?;
    // Everything that acts ends before the tracers do.
    let acting = Stop::default();
    let lab = Lab::new(&acting)?;
    let environment = Environment::LongIdle;
    let distances = Distances::draw(settings.seed, environment);
    let testbed = Testbed::new(&lab, environment, distances, 0)?;
    testbed.attachment.complete();
    Environment::FewRetries.apply(lab.network())?;
    let scratch = Scratch::new()?;
    let mut seeds = Rng::with_seed(settings.seed);
    let began = Instant::now();
    let follower = Mutex::new(Follower::default());
    let journal = Mutex::new(Journal::default());
    let traffic = traffic::Tally::default();
    let is_over = AtomicBool::new(false);
    let destinations = [
        destinations(&scratch, Side::Client)?,
        destinations(&scratch, Side::Broker)?,
    ];
    let attacker = settings
        .attack
        .then(|| attack::Attacker::new(&lab))
        .transpose()?;
    let attacked = attack::Tally::default();
    let pages = [attack::Pages::new()?, attack::Pages::new()?];
    let [client, broker] = &destinations;
    let watches = [
        watch(Side::Client, &lab, &scratch, settings, client, pages[0])?,
        watch(Side::Broker, &lab, &scratch, settings, broker, pages[1])?,
    ];
    let mut cases = case::matrix();
    // A host's own firewall sends RSTs past TCP (kernel: `nf_send_reset`): no tracer sees them
    // sent, and on the wire they look like those of its sockets.
    cases.retain(|case| !case.id.starts_with("host_firewall"));

    let (watches, tallies, acted) = thread::scope(|scope| {
        let observer = scope.spawn(|| observe(lab.wire(), &follower, &is_over));
        let tended: Vec<_> = watches
            .into_iter()
            .map(|watch| {
                let mut rng = Rng::with_seed(seeds.u64(..));
                let acting = &acting;
                let pid = std::sync::Arc::clone(&watch.pid);
                let handle = scope.spawn(move || tend(watch, &mut rng, settings.time, acting));
                (handle, pid)
            })
            .collect();
        let mut faults = Vec::new();
        for (destinations, (_, pid)) in destinations.iter().zip(&tended) {
            let mut rng = Rng::with_seed(seeds.u64(..));
            let pid = std::sync::Arc::clone(pid);
            let acting = &acting;
            faults.push(scope.spawn(move || destinations.run(&mut rng, &pid, acting)));
        }
        let mut attackers = Vec::new();
        if let Some(attacker) = &attacker {
            let mut rng = Rng::with_seed(seeds.u64(..));
            let (lab, follower, attacked, acting) = (&lab, &follower, &attacked, &acting);
            attackers.push(scope.spawn(move || {
                let outcome = attacker.run(lab, &mut rng, follower, attacked, acting);
                if outcome.is_err() {
                    acting.request();
                }
                outcome
            }));
            for (pages, (_, pid)) in pages.into_iter().zip(&tended) {
                let pid = std::sync::Arc::clone(pid);
                let watches = move || lock(&pid).is_some();
                attackers.push(scope.spawn(move || {
                    attack::at_the_metrics(pages, &watches, attacked, acting);
                    Ok(())
                }));
            }
        }
        let mut actors = Vec::new();
        for _ in 0..ACTORS {
            let mut rng = Rng::with_seed(seeds.u64(..));
            let (testbed, cases, journal, acting) = (&testbed, &cases, &journal, &acting);
            actors.push(scope.spawn(move || {
                acts::act(testbed, cases, &mut rng, journal, acting);
            }));
        }
        let kafka = settings.kafka.then(|| {
            let mut rng = Rng::with_seed(seeds.u64(..));
            let (lab, follower, traffic, acting) = (&lab, &follower, &traffic, &acting);
            scope.spawn(move || {
                let outcome = traffic::run(lab, &mut rng, follower, traffic, acting);
                if outcome.is_err() {
                    // The run need not go on for half an hour to say that.
                    acting.request();
                }
                outcome
            })
        });

        let others_go_on = || acting.check().is_ok();
        let waited = wait(settings.time, stop, others_go_on, |minutes| {
            let segments = lock(&follower).segments();
            let done = lock(&journal).done;
            progress(&format!(
                "{minutes} min: {done} cases run, {segments} segments on the wires"
            ));
        });
        acting.request();
        progress("everything stops; the wire falls silent");
        actors.into_iter().for_each(join);
        let kafka = kafka.map(join);
        let attacks = attackers.into_iter().try_for_each(join);
        let tallies: Vec<_> = faults.into_iter().map(join).collect();
        testbed.release(Duration::ZERO);
        let watches: Vec<_> = tended.into_iter().map(|(watch, _)| join(watch)).collect();
        fall_silent(lab.wire());
        is_over.store(true, Ordering::Relaxed);
        join(observer);
        let acted = match kafka {
            Some(Err(Error::Stopped)) | None => Ok(waited),
            Some(outcome) => outcome.map(|()| waited),
        };
        let acted = acted.and_then(|waited| attacks.map(|()| waited));
        (watches, tallies, acted)
    });
    let cut_short = !acted?;
    let mut hosts = Vec::new();
    progress("the sinks deliver what is left");
    for ((watch, destinations), tally) in watches.into_iter().zip(&destinations).zip(tallies) {
        hosts.push(settle(watch?, destinations, tally?)?);
    }
    let connections = lock(&follower).drain();
    Ok(Report::new(
        settings,
        cut_short.then(|| began.elapsed()),
        &lab,
        &connections,
        journal.into_inner().unwrap_or_else(PoisonError::into_inner),
        traffic,
        hosts,
    )
    .with_attack(settings.attack.then_some(attacked)))
}

fn destinations(scratch: &Scratch, side: Side) -> Result<Destinations> {
    let disk = match side {
        Side::Client => disk::CLIENT,
        Side::Broker => disk::BROKER,
    };
    Ok(Destinations {
        disk: Disk::new(scratch.path().join(disk))?,
        syslog: Receiver::start(Speech::Syslog)?,
        otlp: Receiver::start(Speech::Otlp)?,
    })
}

fn watch<'a>(
    side: Side,
    lab: &Lab,
    scratch: &Scratch,
    settings: &Settings,
    destinations: &'a Destinations,
    pages: attack::Pages,
) -> Result<Watch<'a>> {
    let namespace = lab.network().host(side).name();
    let spool = scratch.path().join(format!("spool-{side}"));
    let mut text = config(namespace, &spool, settings.time, destinations);
    if settings.attack {
        let attack::Pages { metrics, health } = pages;
        let sink = format!(
            "[[sink]]\ntype = \"prometheus\"\nlisten = \"{metrics}\"\nhealth = \"{health}\"\n"
        );
        text += &sink;
    }
    let file = scratch.write(&format!("{side}.toml"), text)?;
    let complaints = scratch.path().join(format!("{side}.log"));
    let sinks = destinations.sinks(&spool);
    Ok(Watch::new(side, &settings.tracer, file, complaints, sinks))
}

/// A tracer's configuration: everything that can fail, and standard output.
fn config(namespace: &str, spool: &Path, time: Duration, destinations: &Destinations) -> String {
    // Should the lab die, they end by themselves.
    let lease = time.as_secs() + 1_800;
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let (spool, file) = (quoted(spool), quoted(&destinations.disk.file()));
    let (syslog, otlp) = (destinations.syslog.port(), destinations.otlp.port());
    format!(
        "port = \"{PORT}\"\n\
         netns = {namespace:?}\n\
         all = true\n\
         broker-max-idle = \"3s\"\n\
         event-limit = 0\n\
         duration = \"{lease}s\"\n\
         summary = \"10s\"\n\
         spool = {spool}\n\
         [[sink]]\ntype = \"stdout\"\nformat = \"json\"\n\
         [[sink]]\ntype = \"file\"\nformat = \"json\"\npath = {file}\n\
         [[sink]]\ntype = \"syslog\"\naddress = \"tcp://127.0.0.1:{syslog}\"\n\
         [[sink]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:{otlp}/v1/logs\"\n"
    )
}

/// Takes in all that passes, until nothing does any more.
fn observe(wire: &Wire, follower: &Mutex<Follower>, is_over: &AtomicBool) {
    let mut seen = 0;
    loop {
        let last_look = is_over.load(Ordering::Relaxed);
        let fresh = wire.after(seen, Stop::GLANCE);
        seen += fresh.len();
        let mut follower = lock(follower);
        for sighting in &fresh {
            follower.learn(sighting);
        }
        drop(follower);
        if fresh.is_empty() && last_look {
            return;
        }
        wire.forget_before(Moment::now().before(MEMORY));
    }
}

/// Keeps one host watched, but for short whiles between two tracers, until everything stops; then
/// a tracer is there.
fn tend<'a>(
    mut watch: Watch<'a>,
    rng: &mut Rng,
    time: Duration,
    acting: &Stop,
) -> Result<Watch<'a>> {
    let outcome = tend_until(&mut watch, rng, time, acting);
    if outcome.is_err() {
        acting.request();
    }
    outcome.map(|()| watch)
}

fn tend_until(watch: &mut Watch<'_>, rng: &mut Rng, time: Duration, acting: &Stop) -> Result<()> {
    let unstopped = Stop::default();
    loop {
        watch.begin(&unstopped)?;
        let life = match watch.host() {
            Side::Client => pause(rng, 15..90),
            // Long enough for its memory to be judged.
            Side::Broker => time.mul_f64(0.25_f64.mul_add(rng.f64(), 0.25)),
        };
        let ends = Instant::now() + life;
        while Instant::now() < ends && watch.look()? {
            if acting.sleep(LOOK).is_err() {
                return Ok(());
            }
        }
        watch.end(
            *rng.choice(&[End::Asked, End::Killed])
                .unwrap_or(&End::Asked),
        )?;
        // Whether or not it is cut short, the next one begins.
        let _slept = acting.sleep(pause(rng, 0..3));
    }
}

/// Waits for the time to be over, for a stop, or for something to go wrong; whether it was over.
fn wait(
    time: Duration,
    stop: &Stop,
    others_go_on: impl Fn() -> bool,
    progress: impl Fn(u64),
) -> bool {
    let began = Instant::now();
    let mut minutes = 0;
    while began.elapsed() < time {
        let left = time.saturating_sub(began.elapsed());
        if stop.sleep(left.min(Duration::from_secs(1))).is_err() || !others_go_on() {
            return false;
        }
        let gone = began.elapsed().as_secs() / 60;
        if gone > minutes {
            minutes = gone;
            progress(minutes);
        }
    }
    true
}

/// Waits until nothing more passes, but not for ever.
fn fall_silent(wire: &Wire) {
    const PATIENCE: Duration = Duration::from_mins(1);
    let is_silent = |last| Moment::now().since(last) >= SILENT;
    let _enough =
        Stop::default().until_holds("silence", PATIENCE, || wire.last().is_none_or(is_silent));
}

/// Waits until the sinks of one host have everything, and ends its tracer.
///
/// What a tracer says at its end may stay in a spool: it has a few seconds, on a machine that may
/// be busy. Then the next run has to deliver it, as it does for operators.
fn settle(mut watch: Watch<'_>, destinations: &Destinations, tally: faults::Tally) -> Result<Host> {
    let received = || [&destinations.syslog, &destinations.otlp].map(|it| it.received().ids);
    let (mut latest, mut most) = (Instant::now(), 0);
    // Whether the receivers have all, and whether they have got anything of late.
    let mut look = |watch: &Watch<'_>| {
        let received = received();
        let count = received.iter().map(BTreeSet::len).sum();
        if count > most {
            (latest, most) = (Instant::now(), count);
        }
        let is_delivered = delivery::is_delivered(watch.of_the_last_life(), &received);
        (is_delivered, latest.elapsed() < DELIVERED)
    };
    // One that delivers nothing but what it says itself would go on for ever.
    let mut runs = 0;
    loop {
        let began = Instant::now();
        while look(&watch) == (false, true) && began.elapsed() < DELIVERED && watch.look()? {
            thread::sleep(Duration::from_millis(250));
        }
        watch.end(End::Asked)?;
        let (is_delivered, gets_more) = look(&watch);
        if is_delivered || !gets_more || runs == RUNS {
            break;
        }
        runs += 1;
        watch.begin(&Stop::default())?;
    }
    for file in [destinations.disk.rotated(), destinations.disk.file()] {
        if disk::is_there(&file)? {
            destinations.disk.take(&file)?;
        }
    }
    Ok(Host::new(watch.over(), destinations, tally))
}
