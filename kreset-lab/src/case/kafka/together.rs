//! Connections that end from one cause: what each host makes one incident of.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use super::{prelude::*, rolling::cluster};
use crate::{event::Event, judge::ruling, trace::wire::Wire};

/// Clients, each a process of its own.
const CLIENTS: usize = 20;
/// Partitions of the topic: each broker leads some.
const PARTITIONS: usize = 6;
/// Between two records of a client.
const PACE: Duration = Duration::from_millis(20);
/// How far what a host says of the time of refusal may be from the wire.
const TOLERANCE_MS: f64 = 200.0;
/// An incident is over when nothing has happened for ten seconds.
const OVER: Duration = Duration::from_mins(1);
/// Quiet for so long, a device's timer that ends a connection a second has ended.
const NO_DEVICE: Duration = Duration::from_hours(1);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        setup::alone(
            "together.roll",
            "the brokers of a cluster of three are restarted in order under twenty clients: three \
             incidents of one roll on each host, with how long each port refused",
            roll,
        ),
        setup::alone(
            "together.timer",
            "a device forgets a hundred idle connections: one incident",
            timer,
        ),
        setup::alone(
            "together.deploy-failover",
            "a broker is restarted, and later a device forgets everything: two incidents",
            deploy_and_failover,
        ),
        setup::alone(
            "together.everyday",
            "clients come and go, the broker ends idle connections and expired logins, ports are \
             scanned: no incident",
            everyday,
        ),
    ]
}

/// A producer with a connection to each broker, which connects again at once.
fn producer() -> client::Plan {
    client::Plan::new(Software::Librdkafka, Job::Producer)
        .with("enable.sparse.connections", "false")
        .with("sticky.partitioning.linger.ms", "0")
        .with("linger.ms", "0")
        .with("reconnect.backoff.max.ms", "500")
}

/// No other broker takes over what one leads: clients wait for it.
fn partitions(plan: broker::Plan) -> broker::Plan {
    plan.with("num.partitions", PARTITIONS)
        .with("default.replication.factor", 1)
}

fn producers(setup: &KafkaSetup<'_>, brokers: &[Broker], count: usize) -> Result<Vec<Client>> {
    let all = brokers.iter().cycle().take(count);
    all.map(|broker| setup.producer(&producer(), broker))
        .collect()
}

/// Does `act` while all clients send, one record after the other.
fn under_load<T>(clients: &mut [Client], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let workers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    while !done.load(Relaxed) {
                        // However many get through.
                        client.ask(setup::SEND)?;
                        thread::sleep(PACE);
                    }
                    Ok(())
                })
            })
            .collect();
        let outcome = act();
        done.store(true, Relaxed);
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(Error::Staging("a thread died".to_owned())));
            ended?;
        }
        outcome
    })
}

fn restart(
    setup: &KafkaSetup<'_>,
    watch: &Watch<'_>,
    broker: &mut Broker,
    nth: usize,
) -> Result<()> {
    broker.shut_down()?;
    broker.restart(setup.lab)?;
    let lab = setup.lab;
    lab.status().set("waiting for an incident to be over");
    for side in [Side::Client, Side::Broker] {
        watch.wait_for(side, "the end of an incident", OVER, |event| {
            event.phase.as_deref() == Some("end")
                && event.roll.as_ref().and_then(|roll| roll.number) == Some(nth as u64)
        })?;
    }
    Ok(())
}

fn roll(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let mut brokers = cluster(setup, partitions)?;
    let watch = setup.watch()?;
    let mut clients = producers(setup, &brokers, CLIENTS)?;
    under_load(&mut clients, || {
        for (number, broker) in brokers.iter_mut().enumerate() {
            restart(setup, &watch, broker, number + 1)?;
        }
        Ok(())
    })?;
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    let mut outcome = judged(setup, watch)?;
    let wire = setup.lab.wire();
    for_each_host(&mut outcome, |side, events| {
        let ends = ends(events);
        let mut wrong = differs(&ends, &["broker_ended"; 3]);
        let rolls: BTreeSet<_> = ends.iter().map(|it| it.roll.as_ref()?.id.clone()).collect();
        let numbers: Vec<_> = ends.iter().map(|it| it.roll.as_ref()?.number).collect();
        if rolls.len() != 1 || numbers != [Some(1), Some(2), Some(3)] {
            wrong.push(format!("incident: rolls {rolls:?}, numbers {numbers:?}"));
        }
        for end in &ends {
            wrong.extend(refused(wire, side, end));
            if end.clients.is_none_or(|clients| clients < 1) {
                wrong.push(format!("incident: {:?} clients", end.clients));
            }
        }
        wrong.extend(members(events));
        wrong
    });
    Ok(outcome)
}

fn timer(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    const CONNECTIONS: usize = 100;
    let idle = setup.session.idle_timeout();
    let lab = setup.lab;
    let brokers = cluster(setup, partitions)?;
    lab.middlebox().reset_on_send(idle, Ttl::Own)?;
    let watch = setup.watch()?;
    let mut clients = producers(setup, &brokers, CONNECTIONS / 3 + 1)?;
    // Each has a connection to each broker once it has sent to all partitions.
    for client in &mut clients {
        client.must("send 50 100")?;
    }
    setup.wait_for_silence(idle + Duration::from_millis(500))?;
    for client in &mut clients {
        client.must("send 50 100")?;
    }
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |side, events| {
        let ends = ends(events);
        if side == Side::Broker {
            // What a broker's host sees of it are answers to packets of connections that it has.
            return differs(&ends, &[]);
        }
        let mut wrong = differs(&ends, &["device_idle_timer"]);
        let ended = ends.first().and_then(|it| it.ended).unwrap_or(0);
        if ended < CONNECTIONS as u64 * 9 / 10 {
            wrong.push(format!("incident: {ended} connections"));
        }
        wrong.extend(members(events));
        wrong
    });
    Ok(outcome)
}

fn deploy_and_failover(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let lab = setup.lab;
    let mut brokers = cluster(setup, partitions)?;
    lab.middlebox().reset_on_send(NO_DEVICE, Ttl::Own)?;
    let watch = setup.watch()?;
    let mut clients = producers(setup, &brokers, CLIENTS)?;
    under_load(&mut clients, || {
        restart(setup, &watch, &mut brokers[0], 1)?;
        lab.middlebox().lose_state()?;
        setup.wait_for_reset(Side::Client, setup::BUSY)?;
        let what = "an incident of the device";
        watch.wait_for(Side::Client, what, OVER, |event| {
            event.incident.as_deref() == Some("device_failover")
        })?;
        Ok(())
    })?;
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |side, events| {
        let expected: &[_] = match side {
            Side::Client => &["broker_ended", "device_failover"],
            // The device resets who sends, and brokers only answer.
            Side::Broker => &["broker_ended"],
        };
        let mut wrong = differs(&ends(events), expected);
        wrong.extend(members(events));
        wrong
    });
    Ok(outcome)
}

fn everyday(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    const ROUNDS: usize = 4;
    let short = Duration::from_secs(3).as_millis();
    let broker = setup.broker(
        broker::Plan::new(Protocol::SaslPlaintext)
            .with("connections.max.idle.ms", short)
            .with("connections.max.reauth.ms", short),
    )?;
    let options = Options::default()
        .without_noise()
        .broker_max_idle(Duration::from_secs(3));
    let watch = setup
        .session
        .watch_with(&options.longer_by(Duration::from_mins(5)))?;
    for round in 0..ROUNDS {
        let mut clients = Vec::new();
        for software in [Software::Librdkafka, Software::Java] {
            for job in [Job::Producer, Job::Admin] {
                let plan = client::Plan::new(software, job).sasl("PLAIN", "alice-secret");
                clients.push(setup.ready_client(&plan, &broker)?);
            }
        }
        // A scan of the port.
        for _ in 0..5 {
            drop(setup.lab.connect(Family::Ipv4)?);
        }
        // Half of the rounds are silent for longer than the broker allows, the others not.
        setup
            .lab
            .silence(Duration::from_secs(if round % 2 == 0 { 5 } else { 1 }))?;
        for client in &mut clients {
            client.close()?;
        }
    }
    setup.wait_for_silence(Duration::from_secs(1))?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |_, events| differs(&ends(events), &[]));
    Ok(outcome)
}

/// Judges what was said of each connection, but for silences under load, which are of some
/// milliseconds: others are about these.
pub(super) fn judged(setup: &KafkaSetup<'_>, watch: Watch<'_>) -> Result<Outcome> {
    watch.judge_by(|side| {
        let mut claims = ruling::claims(setup.lab.wire(), side, anything);
        for truth in claims.all.iter_mut().flat_map(|claim| &mut claim.truths) {
            (truth.idle, truth.wire_idle) = (None, None);
        }
        Ok(claims)
    })
}

/// Each end of a connection is judged elsewhere: here it is what they make together.
fn anything(_: &Ending) -> Ruling {
    Ruling::May(vec![
        Answer::IDLE_ON_SEND,
        Answer::NOT_IDLE,
        Answer::MOVED,
        Answer::REBOUND,
        Answer::IDLE_CLOSE,
        Answer::one("broker_originated", &["closed"]),
        Answer::SHUTDOWN_OR_ABORTED,
        Answer::CONNECTION_LOST,
        Answer::REFUSED,
        Answer::CLOSED_BY_BROKER,
        Answer::AUTHENTICATION,
        Answer::PLAINTEXT_TO_TLS,
        Answer::CLIENT_ABORTED,
        Answer::CLIENT_LOST,
        Answer::LATE_DATA,
        Answer::PROBE,
        Answer::INDETERMINATE,
    ])
}

pub(super) fn for_each_host(outcome: &mut Outcome, check: impl Fn(Side, &[Event]) -> Vec<String>) {
    let hosts = [
        (Side::Client, &mut outcome.client),
        (Side::Broker, &mut outcome.broker),
    ];
    for (side, host) in hosts {
        if let Some(said) = &host.said {
            let wrong = check(side, &said.events);
            host.differences.extend(wrong);
        }
    }
}

/// Waits until both hosts report an incident of this kind.
pub(super) fn wait_for_incident(
    setup: &KafkaSetup<'_>,
    watch: &Watch<'_>,
    kind: &str,
    patience: Duration,
) -> Result<()> {
    setup.lab.status().set("waiting for an incident");
    for side in [Side::Client, Side::Broker] {
        let is_it = |event: &Event| event.incident.as_deref() == Some(kind);
        watch.wait_for(side, kind, patience, is_it)?;
    }
    Ok(())
}

/// What a host said of incidents when they were over, in their order.
pub(super) fn ends(events: &[Event]) -> Vec<&Event> {
    let is_end = |it: &&Event| it.kind == "incident" && it.phase.as_deref() == Some("end");
    events.iter().filter(is_end).collect()
}

pub(super) fn differs(ends: &[&Event], expected: &[&str]) -> Vec<String> {
    let kinds: Vec<_> = ends
        .iter()
        .map(|it| it.incident.as_deref().unwrap_or("nothing"))
        .collect();
    if kinds == expected {
        Vec::new()
    } else {
        vec![format!("incident: {kinds:?} instead of {expected:?}")]
    }
}

/// What is wrong with how long a port is said to have refused.
fn refused(wire: &Wire, side: Side, end: &Event) -> Option<String> {
    let broker = end.brokers.first()?.socket()?;
    let said = end.refused.as_ref().and_then(|it| it.ms);
    let truth = refusal_on(wire, side, broker);
    let is_right = match (said, truth) {
        (Some(said), Some(truth)) => (said - truth).abs() <= TOLERANCE_MS,
        (said, truth) => said.is_none() && truth.is_none(),
    };
    (!is_right).then(|| {
        format!("incident: {broker} is said to have refused for {said:?} ms, and did for {truth:?}")
    })
}

/// From the last connection that the broker ended before it refused others to the next that it
/// accepted, ms; nothing if it refused none.
fn refusal_on(wire: &Wire, side: Side, broker: SocketAddr) -> Option<f64> {
    let endings = Ending::all(wire, side);
    let of_broker = || endings.iter().filter(|it| it.broker == broker);
    let last_refusal = of_broker()
        .filter(|it| it.is_refusal())
        .map(|it| it.last().at)
        .max()?;
    let accepted = wire
        .sightings()
        .into_iter()
        .filter(|seen| seen.leg == side && seen.segment.source == broker)
        .filter(|seen| seen.has(Flags::SYN) && seen.at > last_refusal)
        .map(|seen| seen.at)
        .min()?;
    let ended = of_broker()
        .filter(|it| !it.is_refusal())
        .filter_map(|it| {
            let mut packets = it.packets.iter();
            let by_broker = packets.find(|seen| seen.has(Flags::FIN) || seen.has(Flags::RST))?;
            (by_broker.from() == Side::Broker).then_some(by_broker.at)
        })
        .filter(|at| *at < accepted)
        .max()?;
    Some(accepted.since(ended).as_secs_f64() * 1_000.0)
}

/// Events that neither carry the id of their incident nor are listed by it, though they follow
/// its beginning.
fn members(events: &[Event]) -> Vec<String> {
    let begun: Vec<_> = events
        .iter()
        .filter(|it| it.kind == "incident" && it.phase.as_deref() == Some("begin"))
        .collect();
    let known: BTreeSet<_> = begun
        .iter()
        .filter_map(|it| it.incident_id.as_deref())
        .collect();
    let ids: BTreeSet<_> = events.iter().filter_map(|it| it.id.as_deref()).collect();
    let carried = events
        .iter()
        .filter(|it| it.is_about_a_connection())
        .filter_map(|it| it.incident_id.as_deref());
    let unknown: BTreeSet<_> = carried.filter(|id| !known.contains(id)).collect();
    let mut wrong: Vec<_> = unknown
        .iter()
        .map(|id| format!("incident: no incident {id}"))
        .collect();
    for it in begun {
        let listed = it.earlier.iter().filter(|id| !ids.contains(id.as_str()));
        wrong.extend(listed.map(|id| format!("incident: no event {id}")));
    }
    wrong
}
