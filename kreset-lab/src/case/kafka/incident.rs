//! An incident that neither host can explain alone, and both explain together.

use std::{cell::RefCell, collections::BTreeSet};

use super::{prelude::*, rolling::cluster};
use crate::{case::table::Table, driver::pair::correlate, event::Event};

/// Producers, each with connections of its own.
const CLIENTS: usize = 20;
/// Partitions of the topic: each broker leads some.
const PARTITIONS: usize = 6;
/// How many times longer the device remembers connections than elsewhere.
const STARTING: u32 = 4;
/// So many records, each to a partition of its own choice, that every broker has got some.
const SPREAD: &str = "send 30 100";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![setup::alone(
        "incident",
        "twenty producers of a cluster of three, behind NAT and a device that forgets them and \
         resets with the broker's TTL: one host cannot say who it was, and both together prove it",
        incident,
    )]
}

fn incident(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    // Twenty clients start one after the other: the first must not be forgotten before the last.
    let idle = STARTING * setup.session.idle_timeout();
    let lab = setup.lab;
    let brokers = cluster(setup, |plan| plan.with("num.partitions", PARTITIONS))?;
    let _nat = Table::masquerade(lab.network().router())?;
    lab.middlebox().reset_on_send(idle, Ttl::Copied)?;
    // What was not shown would prove nothing.
    let options = Options::default().longer_by(Duration::from_mins(5));
    let watch = setup.session.watch_with(&options)?;
    let plan = client::Plan::new(Software::Librdkafka, Job::Producer)
        .with("linger.ms", "0")
        .with("sticky.partitioning.linger.ms", "0");
    let mut clients = brokers
        .iter()
        .cycle()
        .take(CLIENTS)
        .map(|broker| setup.producer(&plan, broker))
        .collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        client.must(SPREAD)?;
    }
    setup.wait_for_silence(idle + Duration::from_millis(500))?;
    // Brokers still hold what the device resets at the clients. The kernel shuffles ephemeral
    // ports every ten seconds (`EPHEMERAL_PORT_SHUFFLE_PERIOD`, 6.18): none must come again.
    lab.network()
        .host(Side::Client)
        .sysctl(&[("ipv4/ip_local_port_range", "1024 32000")])?;
    for client in &mut clients {
        client.must(setup::SEND)?;
    }
    setup.settle(&mut clients.iter_mut().collect::<Vec<_>>())?;
    // A producer may open a connection only now: how many were reset is what the wire says.
    let reset = RefCell::new(BTreeSet::new());
    let mut outcome = setup.judge_an_ending(watch, |ending| {
        if (ending.what, ending.host) == (What::Received, Side::Client) {
            reset.borrow_mut().insert((ending.client, ending.broker));
        }
        alone(ending)
    })?;
    let reset = reset.into_inner().len();
    if reset < CLIENTS {
        return Err(Error::Staging(format!(
            "the device reset {reset} connections of {CLIENTS} producers"
        )));
    }
    if let Some(program) = setup.session.tracer()
        && let [Some(client), Some(broker)] = [&outcome.client.said, &outcome.broker.said]
    {
        let findings = correlate(program, [client, broker])?;
        outcome
            .broker
            .differences
            .extend(unproven(&findings, reset));
    }
    Ok(outcome)
}

/// What one host may say of it.
fn alone(ending: &Ending) -> Ruling {
    Ruling::May(match (ending.what, ending.host) {
        (What::Received, Side::Client) => vec![
            Answer::IDLE_ON_SEND,
            Answer::CONNECTION_LOST,
            Answer::NOT_IDLE,
            Answer::INDETERMINATE,
        ],
        _ => vec![Answer::LATE_DATA, Answer::CLIENT_ABORTED],
    })
}

/// What is wrong with what both hosts prove: each of the `reset` connections that a client saw
/// reset was a device's.
fn unproven(findings: &[Event], reset: usize) -> Vec<String> {
    let resets: Vec<_> = findings
        .iter()
        .filter(|it| it.verdict.as_deref() != Some("client_originated"))
        .collect();
    let wrong = resets
        .iter()
        .filter(|it| !Answer::IDLE_ON_SEND.fits(it) || it.proof.as_deref() != Some("nobody_sent"));
    let mut wrong: Vec<_> = wrong
        .map(|it| {
            let proof = it.proof.as_deref().unwrap_or("nothing");
            format!("pair: {} by {proof}, missing {:?}", it.answer(), it.missing)
        })
        .collect();
    if resets.len() != reset {
        wrong.push(format!(
            "pair: {} resets are explained, of {reset}",
            resets.len()
        ));
    }
    wrong
}
