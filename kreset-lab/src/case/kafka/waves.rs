//! Waves of ends that have one cause without an end of the broker: a listener that is drained, and
//! one client that fails again and again. What each host makes one incident of.

use std::{collections::BTreeSet, iter, net::Ipv4Addr};

use nix::sys::signal::Signal;

use super::{
    prelude::*,
    together::{differs, ends, for_each_host, judged, wait_for_incident},
};
use crate::{
    kafka::proxy,
    util::program::{HAPROXY, OPENSSL},
};

/// How long an incident may take to show, on a machine that does much else.
const SHOWN: Duration = Duration::from_mins(1);
/// The proxy's own address, on the broker's host.
const PROXY: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 3);
/// Where the broker listens behind it.
const BEHIND: u16 = 19_500;

pub(super) fn scenarios() -> Vec<Scenario> {
    let drained = setup::alone(
        "together.drained",
        "HAProxy beside the broker is reloaded, and its old worker closes what is left after \
         hard-stop-after: a listener was drained, and no broker ended",
        drained,
    );
    let logins = setup::alone(
        "together.logins",
        "one client has a wrong password and tries again and again, beside one that has the \
         right one: failed logins of one client",
        logins,
    );
    let handshakes = setup::alone(
        "together.handshakes",
        "one client speaks plaintext to a TLS listener, again and again: failed handshakes of one \
         client",
        handshakes,
    );
    vec![
        drained.needing(HAPROXY),
        logins,
        handshakes.needing(OPENSSL),
    ]
}

fn drained(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    const CLIENTS: usize = 4;
    /// Younger connections may be those of checks, which ask once and are closed.
    const OLD: Duration = Duration::from_millis(10_500);
    /// Between two clients, as they start and with their last records: no timer of the proxy's
    /// has ages or silences so far apart in common.
    const APART: Duration = Duration::from_millis(1_300);
    let lab = setup.lab;
    let plan = broker::Plan::new(Protocol::Plaintext)
        .advertised(PROXY.into())
        .behind_proxy(BEHIND);
    let broker = setup.broker(plan)?;
    lab.network().add_broker_address(PROXY)?;
    let mut proxy = proxy::start_beside(lab, &setup.scratch, PROXY, BEHIND)?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(Software::Librdkafka, Job::Producer).with("linger.ms", "0");
    let start = || {
        lab.silence(APART)?;
        setup.producer(&plan, &broker)
    };
    let mut clients = iter::repeat_with(start)
        .take(CLIENTS)
        .collect::<Result<Vec<_>>>()?;
    lab.silence(OLD)?;
    for client in &mut clients {
        lab.silence(APART)?;
        client.must(setup::SEND)?;
    }
    lab.silence(APART)?;
    proxy.signal(Signal::SIGUSR2)?;
    wait_for_incident(setup, &watch, "listener_drained", SHOWN)?;
    // The new worker serves them.
    for client in &mut clients {
        client.must(setup::SEND)?;
    }
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |_, events| {
        let ends = ends(events);
        let mut wrong = differs(&ends, &["listener_drained"]);
        for end in ends {
            let brokers: BTreeSet<_> = end.brokers.iter().filter_map(|it| it.address).collect();
            if brokers != BTreeSet::from([PROXY.into()]) {
                wrong.push(format!("incident: of {brokers:?}"));
            }
            if end.ended.is_none_or(|ended| ended < CLIENTS as u64) {
                wrong.push(format!("incident: {:?} connections", end.ended));
            }
        }
        wrong
    });
    // With its workers.
    proxy.signal(Signal::SIGTERM)?;
    proxy.wait_for_end(SHOWN)?;
    Ok(outcome)
}

fn logins(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let broker = setup.broker(broker::Plan::new(Protocol::SaslPlaintext))?;
    let plan = again().with("client.id", "wrong").sasl("PLAIN", "wrong");
    failing(setup, &broker, &plan, "failed_logins", |setup| {
        let plan = client::Plan::new(Software::Librdkafka, Job::Producer)
            .with("client.id", "right")
            .sasl("PLAIN", "alice-secret");
        setup.producer(&plan, &broker).map(Some)
    })
}

fn handshakes(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let broker = setup.broker(broker::Plan::new(Protocol::Ssl))?;
    let plan = again().with("client.id", "wrong");
    failing(setup, &broker, &plan, "failed_handshakes", |_| Ok(None))
}

/// A client that tries again twice a second.
fn again() -> client::Plan {
    client::Plan::new(Software::Librdkafka, Job::Producer)
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500)
}

/// A client that fails until both hosts say `incident`, beside another one.
fn failing(
    setup: &KafkaSetup<'_>,
    broker: &Broker,
    plan: &client::Plan,
    incident: &str,
    other: impl FnOnce(&KafkaSetup<'_>) -> Result<Option<Client>>,
) -> Result<Outcome> {
    let watch = setup.watch()?;
    let mut other = other(setup)?;
    let mut client = setup.client(plan, broker)?;
    client.order("hello")?;
    wait_for_incident(setup, &watch, incident, SHOWN)?;
    if let Some(other) = &mut other {
        other.must(setup::SEND)?;
    }
    let mut all = vec![&mut client];
    all.extend(&mut other);
    setup.settle(&mut all)?;
    let mut outcome = judged(setup, watch)?;
    for_each_host(&mut outcome, |_, events| {
        let ends = ends(events);
        let mut wrong = differs(&ends, &[incident]);
        for end in ends {
            if (end.clients, end.ended.is_some_and(|ended| ended >= 3)) != (Some(1), true) {
                wrong.push(format!(
                    "incident: {:?} connections of {:?} clients",
                    end.ended, end.clients
                ));
            }
        }
        wrong
    });
    Ok(outcome)
}
