//! Clusters in good order, of which there is nothing to tell.

use std::time::Duration;

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Side,
    error::Result,
    judge::{Answer, ruling::Ruling},
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    scenario::{Outcome, Scenario, Scene},
    trace::ending::What,
    util::program::OPENSSL,
};

/// How often the producer sends, with a rest of a second in between.
const ROUNDS: u32 = 12;

/// For how long the first consumer reads: before, during and after all else.
const READING: Duration = Duration::from_secs(25);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::ALL,
        "healthy",
        "produce, consume, rebalance and orderly closes, with and without load: nothing to tell",
        |scene, software| healthy(scene, software, Protocol::Plaintext),
    ));
    let with_tls = with_each(
        &Software::USUAL,
        "healthy-tls",
        "the same with TLS: a client that closes and leaves the broker's last words unread aborts, and \
         nothing else is told",
        |scene, software| healthy(scene, software, Protocol::Ssl),
    );
    all.extend(with_tls.map(|scenario| scenario.needing(OPENSSL)));
    all
}

fn healthy(scene: &Scene<'_>, software: Software, protocol: Protocol) -> Result<Outcome> {
    let cast = match protocol {
        Protocol::Ssl => Cast::with_certificates(scene)?,
        Protocol::Plaintext | Protocol::SaslPlaintext => Cast::new(scene)?,
    };
    let plan = |job| {
        let plan = client::Plan::new(software, job);
        match &cast.certificates {
            Some(certificates) => plan.tls(&certificates.authority_file()),
            None => plan,
        }
    };
    let broker = cast.broker(broker::Plan::new(protocol))?;
    let watch = cast.watch()?;
    let mut producer = cast.client(&plan(Job::Producer), &broker)?;
    producer.must("hello")?;
    // Consumers are told of topics that exist.
    producer.must("send 1 100")?;
    let mut consumer = cast.client(&plan(Job::Consumer), &broker)?;
    consumer.must("hello")?;
    let reading = format!("poll {}", READING.as_millis());
    consumer.tell(&reading)?;
    for _ in 0..ROUNDS {
        producer.must("send 2000 500")?;
        scene.lab.silence(Duration::from_secs(1))?;
    }
    // Another member of the group comes and goes.
    let mut guest = cast.client(&plan(Job::Consumer).named("guest"), &broker)?;
    guest.must("hello")?;
    guest.must("poll 2000")?;
    guest.close()?;
    consumer.answer(&reading)?;
    consumer.close()?;
    producer.close()?;
    cast.wait_for_silence(Duration::from_secs(1))?;
    cast::judge(scene, watch, |ending| match ending.what {
        // The close_notify that answers a client's may still be unread when it closes its socket.
        What::Received | What::Sent
            if protocol == Protocol::Ssl && ending.last().from() == Side::Client =>
        {
            Ruling::May(vec![Answer::CLIENT_ABORTED, Answer::LATE_DATA])
        }
        _ => Ruling::Nothing,
    })
}
