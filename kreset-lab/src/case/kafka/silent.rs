//! Brokers that answer nothing: their clients give up in order, and no RST says so. What both
//! hosts make one incident of; and closes in the middle of a wait, which are routine.

use std::iter;

use nix::sys::signal::Signal;

use super::{
    prelude::*,
    together::{differs, ends, for_each_host, judged, wait_for_incident},
};
use crate::event::Event;

/// Clients wait so long for an answer, ms: longer than what the tracer takes for everyday.
const WAITS: u32 = 6_000;
/// The broker is suspended for longer than that, more than three times.
const SUSPENDED: Duration = Duration::from_secs(21);
/// How long an incident may take to show, on a machine that does much else.
const SHOWN: Duration = Duration::from_mins(2);
/// What an incident of this kind is called.
const UNRESPONSIVE: &str = "unresponsive";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        setup::alone(
            "together.suspended",
            "the broker is suspended for longer than Java clients wait for answers: they give up \
             in order, which is one incident, and the broker's host says who suspended it",
            suspended,
        ),
        setup::alone(
            "together.full-listener",
            "the listener has as many connections as max.connections allows: who comes after \
             waits in the accept queue, and gives up",
            full_listener,
        ),
        setup::alone(
            "together.waiting",
            "consumers close in the middle of a long poll, and producers that never asked for an \
             answer: nothing to report",
            waiting,
        ),
    ]
}

fn patient(software: Software, job: Job) -> client::Plan {
    client::Plan::new(software, job)
        .with_if(Software::Java, "request.timeout.ms", WAITS)
        .with_if(Software::Librdkafka, "socket.timeout.ms", WAITS)
        .with_if(
            Software::Librdkafka,
            "api.version.request.timeout.ms",
            WAITS,
        )
}

fn suspended(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let broker = setup.plain_broker()?;
    setup.found_topic(Software::Java, &broker)?;
    let watch = setup.watch()?;
    let producer = patient(Software::Java, Job::Producer)
        .with("linger.ms", "0")
        .with("delivery.timeout.ms", 120_000);
    let mut producers = [
        setup.producer(&producer, &broker)?,
        setup.producer(&producer, &broker)?,
    ];
    let mut consumer = setup.ready_client(&patient(Software::Java, Job::Consumer), &broker)?;
    consumer.must("poll 2000")?;
    broker.signal(Signal::SIGSTOP)?;
    let since = Moment::now();
    for client in &mut producers {
        client.order(setup::SEND)?;
    }
    consumer.order("poll 20000")?;
    wait_for_incident(setup, &watch, UNRESPONSIVE, SHOWN)?;
    let stop = setup.lab.stop();
    stop.until_holds("the end of a suspension", SUSPENDED + SHOWN, || {
        Moment::now().since(since) >= SUSPENDED
    })?;
    broker.signal(Signal::SIGCONT)?;
    for client in &mut producers {
        client.answer(setup::SEND)?.done()?;
    }
    consumer.answer("poll 20000")?;
    let [first, second] = &mut producers;
    setup.settle(&mut [first, second, &mut consumer])?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |side, events| {
        wrong(side, events, "SIGSTOP for ")
    });
    Ok(outcome)
}

fn full_listener(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    const MOST: usize = 2;
    let plan =
        broker::Plan::new(Protocol::Plaintext).with("listener.name.clients.max.connections", MOST);
    let broker = setup.broker(plan)?;
    let watch = setup.watch()?;
    let guest = || {
        let mut guest = setup.lab.connect(Family::Ipv4)?;
        guest.request(Request::ApiVersions)?;
        guest.receive()?;
        Ok(guest)
    };
    let guests = iter::repeat_with(guest)
        .take(MOST)
        .collect::<Result<Vec<_>>>()?;
    let mut clients = Software::USUAL
        .iter()
        .map(|software| {
            let plan = patient(*software, Job::Producer);
            let mut client = setup.client(&plan, &broker)?;
            client.order("hello")?;
            Ok(client)
        })
        .collect::<Result<Vec<_>>>()?;
    wait_for_incident(setup, &watch, UNRESPONSIVE, SHOWN)?;
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    let mut outcome = judged(setup, watch)?;
    drop(guests);
    for_each_host(&mut outcome, |side, events| {
        wrong(side, events, "the broker does not accept connections")
    });
    Ok(outcome)
}

fn waiting(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    /// Each closes in the middle of its second poll, or after as long a rest.
    const POLL_MS: u32 = 20_000;
    const AFTER: Duration = Duration::from_secs(7);
    let broker = setup.plain_broker()?;
    setup.found_topic(Software::Java, &broker)?;
    let watch = setup.watch()?;
    let consumer = |software, group: usize| {
        client::Plan::new(software, Job::Consumer)
            .with("group.id", format!("group-{group}"))
            .with("auto.offset.reset", "latest")
            .with("fetch.min.bytes", 1_000_000)
            .with_if(Software::Java, "fetch.max.wait.ms", POLL_MS)
            .with_if(Software::Librdkafka, "fetch.wait.max.ms", POLL_MS)
            .with_if(Software::Librdkafka, "socket.timeout.ms", 60_000)
    };
    let careless = |software| {
        client::Plan::new(software, Job::Producer)
            .with("acks", 0)
            .with_if(Software::Java, "enable.idempotence", false)
    };
    let mut clients = Vec::new();
    for (group, software) in Software::USUAL.into_iter().cycle().take(4).enumerate() {
        let mut client = setup.ready_client(&consumer(software, group), &broker)?;
        client.order(&format!("poll {}", AFTER.as_millis()))?;
        clients.push(client);
        clients.push(setup.ready_client(&careless(software), &broker)?);
    }
    for client in clients.iter_mut().skip(1).step_by(2) {
        client.must(setup::SEND)?;
    }
    for client in clients.iter_mut().step_by(2) {
        client.answer("poll")?.done()?;
    }
    // All of them have waited by then.
    setup.lab.silence(AFTER)?;
    for client in &mut clients {
        client.close()?;
    }
    setup.wait_for_silence(Duration::from_secs(1))?;
    let mut outcome = setup.judge(watch, |_| Ruling::Nothing)?;
    for_each_host(&mut outcome, |_, events| differs(&ends(events), &[]));
    Ok(outcome)
}

/// What is wrong with what a host says of the one incident: the broker's host says `why`, and the
/// client's cannot know.
fn wrong(side: Side, events: &[Event], why: &str) -> Vec<String> {
    let ends = ends(events);
    let mut wrong = differs(&ends, &[UNRESPONSIVE]);
    for end in ends {
        let is_right = match (side, &end.ended_by) {
            (Side::Client, said) => said.is_none(),
            (Side::Broker, said) => said.as_ref().is_some_and(|said| said.starts_with(why)),
        };
        if !is_right {
            wrong.push(format!("incident: ended by {:?}", end.ended_by));
        }
        if end.ended.is_none_or(|ended| ended < 3) {
            wrong.push(format!("incident: {:?} connections", end.ended));
        }
    }
    wrong
}
