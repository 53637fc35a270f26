//! Brokers that turn clients away.

use std::{collections::BTreeSet, iter, time::Duration};

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Family, Side,
    error::Result,
    judge::{Answer, ruling::Ruling},
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    net::{CLIENT_V4, packet::Flags},
    scenario::{Outcome, Scenario, Scene},
    trace::ending::{Ending, What},
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::USUAL,
        "connections-per-ip",
        "the client's host has as many connections as max.connections.per.ip allows",
        |scene, software| {
            let cast = Cast::new(scene)?;
            let broker = cast.broker(
                broker::Plan::new(Protocol::Plaintext)
                    .with("max.connections.per.ip.overrides", format!("{CLIENT_V4}:1")),
            )?;
            let _the_one = scene.lab.connect(Family::Ipv4)?;
            let client = client::Plan::new(software, Job::Producer);
            cast::fail_at(&cast, &broker, &client, Answer::CLOSED_BY_BROKER)
        },
    ));
    all.extend(with_each(
        &Software::USUAL,
        "connection-rate",
        "the client's host opens connections faster than its quota allows",
        connection_rate,
    ));
    all.extend(with_each(
        &Software::USUAL,
        "oversized-request",
        "the client sends a request larger than socket.request.max.bytes",
        oversized,
    ));
    all
}

/// The quota counts connections in windows of a second, 11 of them.
fn connection_rate(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    cast.limit_connection_rate(&broker, 1)?;
    // What other connections the host has are the lab's, and not part of the story.
    let guests = iter::repeat_with(|| scene.lab.connect(Family::Ipv4))
        .take(12)
        .collect::<Result<Vec<_>>>()?;
    let ports = guests
        .iter()
        .map(crate::Connection::port)
        .collect::<Result<BTreeSet<_>>>()?;
    let watch = cast.watch()?;
    let mut client = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    client.tell("hello")?;
    scene.lab.wire().wait_for(
        "the client to be turned away",
        Duration::from_secs(20),
        |seen| {
            let flags = seen.segment.flags;
            seen.comes_from(Side::Broker, Flags::ACK)
                && (flags.contain(Flags::FIN) || flags.contain(Flags::RST))
                && !ports.contains(&seen.client_port())
        },
    )?;
    cast.curtain(&mut [&mut client])?;
    cast::judge_an_ending(scene, watch, |ending| {
        // The guests' were there before the tracers.
        if ports.contains(&ending.client.port()) {
            Ruling::May(vec![Answer::CLOSED_BY_BROKER])
        } else {
            cast::failed(ending, Answer::CLOSED_BY_BROKER)
        }
    })
}

fn oversized(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let broker = cast
        .broker(broker::Plan::new(Protocol::Plaintext).with("socket.request.max.bytes", 100_000))?;
    let watch = cast.watch()?;
    let plan = client::Plan::new(software, Job::Producer)
        .with_if(Software::Java, "max.request.size", 10_000_000)
        .with_if(Software::Librdkafka, "message.max.bytes", 10_000_000)
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500);
    let mut client = cast.client(&plan, &broker)?;
    client.must("hello")?;
    client.tell("send 1 900000")?;
    scene.lab.wire().wait_for_count(
        2,
        "the broker to close or reset connections",
        Duration::from_secs(20),
        |seen| {
            seen.comes_from(Side::Broker, Flags::RST) || seen.comes_from(Side::Broker, Flags::FIN)
        },
    )?;
    cast.curtain(&mut [&mut client])?;
    cast::judge_an_ending(scene, watch, aborted)
}

/// The broker closes a connection that it reads no further, with data of the client's unread or
/// still to come.
fn aborted(ending: &Ending) -> Ruling {
    let answers = vec![Answer::BROKER_ABORTED];
    match (ending.what, ending.host) {
        (What::Received, Side::Client) | (What::Sent, Side::Broker) => Ruling::Must(answers),
        (What::Received | What::Sent, _) => {
            Ruling::May(vec![Answer::LATE_DATA, Answer::CLIENT_ABORTED])
        }
        (What::Closed | What::Left | What::TimedOut, _) => Ruling::Nothing,
    }
}
