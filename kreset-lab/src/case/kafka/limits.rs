//! Brokers that turn clients away.

use std::{collections::BTreeSet, iter};

use super::prelude::*;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::USUAL,
        "connections-per-ip",
        "the client's host has as many connections as max.connections.per.ip allows",
        |setup, software| {
            let broker = setup.broker(
                broker::Plan::new(Protocol::Plaintext)
                    .with("max.connections.per.ip.overrides", format!("{CLIENT_V4}:1")),
            )?;
            let _the_one = setup.lab.connect(Family::Ipv4)?;
            let client = client::Plan::new(software, Job::Producer);
            setup.fail_at(&broker, &client, Answer::CLOSED_BY_BROKER)
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
    all.extend(with_each(
        &[Software::Librdkafka],
        "old-client",
        "the client asks in versions that the broker no longer has (KIP-896)",
        too_old,
    ));
    all
}

/// A client that is configured not to ask for versions speaks as for Kafka 0.9; the broker closes at the
/// first request that it does not know, whose key and version name the reason.
fn too_old(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let broker = setup.plain_broker()?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Producer)
        .with("api.version.request", "false")
        .with("broker.version.fallback", "0.9.0.1")
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500);
    let mut client = setup.client(&plan, &broker)?;
    client.order(setup::SEND)?;
    setup.wait_for_failures(1)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, |ending| match ending.what {
        What::TimedOut => Ruling::Nothing,
        _ => Ruling::May(vec![Answer::CLOSED_BY_BROKER, Answer::BROKER_ABORTED]),
    })
}

/// The quota counts connections in windows of a second, 11 of them.
fn connection_rate(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let broker = setup.plain_broker()?;
    setup.limit_connection_rate(&broker, 1)?;
    // What other connections the host has are the lab's, and do not count.
    let guests = iter::repeat_with(|| setup.lab.connect(Family::Ipv4))
        .take(12)
        .collect::<Result<Vec<_>>>()?;
    let ports = guests
        .iter()
        .map(crate::Connection::port)
        .collect::<Result<BTreeSet<_>>>()?;
    let watch = setup.watch()?;
    let mut client = setup.client(&client::Plan::new(software, Job::Producer), &broker)?;
    client.order("hello")?;
    setup.lab.wire().wait_for(
        "the client to be turned away",
        Duration::from_secs(20),
        |seen| {
            let flags = seen.segment.flags;
            seen.comes_from(Side::Broker, Flags::ACK)
                && (flags.contain(Flags::FIN) || flags.contain(Flags::RST))
                && !ports.contains(&seen.client_port())
        },
    )?;
    setup.settle(&mut [&mut client])?;
    setup.judge_an_ending(watch, |ending| {
        // The guests' were there before the tracers.
        if ports.contains(&ending.client.port()) {
            Ruling::May(vec![Answer::CLOSED_BY_BROKER])
        } else {
            setup::failed(ending, Answer::CLOSED_BY_BROKER)
        }
    })
}

fn oversized(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let broker = setup
        .broker(broker::Plan::new(Protocol::Plaintext).with("socket.request.max.bytes", 100_000))?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Producer)
        .with_if(Software::Java, "max.request.size", 10_000_000)
        .with_if(Software::Librdkafka, "message.max.bytes", 10_000_000)
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500);
    let mut client = setup.ready_client(&plan, &broker)?;
    client.order("send 1 900000")?;
    setup.lab.wire().wait_for_count(
        2,
        "the broker to close or reset connections",
        Duration::from_secs(20),
        |seen| {
            seen.comes_from(Side::Broker, Flags::RST) || seen.comes_from(Side::Broker, Flags::FIN)
        },
    )?;
    setup.settle(&mut [&mut client])?;
    setup.judge_an_ending(watch, aborted)
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
