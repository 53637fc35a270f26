//! Clients and listeners that do not agree on TLS.

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Side,
    account::{Ending, Ruling, What},
    error::Result,
    judge::Answer,
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    scenario::{Outcome, Scenario, Scene},
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::USUAL,
        "tls-to-plaintext",
        "a client with TLS comes to a listener without",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let plan = trusting(&cast, software);
            failing(&cast, broker::Plan::new(Protocol::Plaintext), &plan, Answer::TLS_TO_PLAINTEXT)
        },
    ));
    all.extend(with_each(
        &Software::USUAL,
        "plaintext-to-tls",
        "a client without TLS comes to a listener with it",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let plan = client::Plan::new(software, Job::Producer);
            failing(&cast, broker::Plan::new(Protocol::Ssl), &plan, Answer::PLAINTEXT_TO_TLS)
        },
    ));
    all
}

/// A producer that speaks TLS and trusts the broker's authority.
fn trusting(cast: &Cast<'_>, software: Software) -> client::Plan {
    let plan = client::Plan::new(software, Job::Producer);
    match &cast.certificates {
        Some(certificates) => plan.tls(&certificates.authority_file()),
        None => plan,
    }
}

/// A client that never gets through, for a reason that both hosts should name.
pub(super) fn failing(
    cast: &Cast<'_>,
    broker: broker::Plan,
    client: &client::Plan,
    reason: Answer,
) -> Result<Outcome> {
    let scene = cast.scene;
    let broker = cast.broker(broker)?;
    let watch = cast.watch()?;
    // Two attempts show it as well as twenty.
    let client = client
        .clone()
        .with_if(Software::Java, "max.block.ms", 1500)
        .with_if(Software::Java, "default.api.timeout.ms", 1500)
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500);
    let mut client = cast.client(&client, &broker)?;
    client.tell("hello")?;
    wait_for_failures(scene, 2)?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, |ending| failed(ending, reason))
}

/// Waits until `count` connections have come to an end on the client's wire.
fn wait_for_failures(scene: &Scene<'_>, count: usize) -> Result<()> {
    use crate::packet::Flags;
    let done = |seen: &crate::wire::Sighting| {
        seen.leg == Side::Client
            && seen.leaving
            && (seen.segment.flags.contain(Flags::FIN) || seen.segment.flags.contain(Flags::RST))
    };
    let patience = std::time::Duration::from_secs(30);
    let wire = scene.lab.wire();
    wire.wait_for_count(count, "connections to fail", patience, done)
        .map(drop)
}

/// Whatever ended, ended for that reason. The host whose own application gave up knows that, and
/// need not be told.
fn failed(ending: &Ending, reason: Answer) -> Ruling {
    if ending.is_refusal() {
        return Ruling::Must(vec![Answer::REFUSED]);
    }
    match ending.what {
        What::Received | What::Closed => Ruling::Must(vec![reason]),
        What::Sent => Ruling::May(vec![reason]),
        What::TimedOut => Ruling::Nothing,
    }
}
