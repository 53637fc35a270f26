//! Clusters in good order, of which nothing is reported.

use super::prelude::*;
use crate::util::program::OPENSSL;

/// How often the producer sends, with a rest of a second in between.
const ROUNDS: u32 = 12;

/// For how long the first consumer reads: before, during and after all else.
const READING: Duration = Duration::from_secs(25);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::ALL,
        "healthy",
        "produce, consume, rebalance and orderly closes, with and without load: nothing to report",
        |setup, software| healthy(setup, software, Protocol::Plaintext),
    ));
    let with_tls = with_each(
        &Software::USUAL,
        "healthy-tls",
        "the same with TLS: a client that closes and leaves the broker's last words unread aborts, and \
         nothing else is reported",
        |setup, software| healthy(setup, software, Protocol::Ssl),
    );
    all.extend(with_tls.map(|scenario| scenario.needing(OPENSSL)));
    all
}

fn healthy(setup: &KafkaSetup<'_>, software: Software, protocol: Protocol) -> Result<Outcome> {
    let plan = |job| -> Result<client::Plan> {
        let plan = client::Plan::new(software, job);
        Ok(match protocol {
            Protocol::Ssl | Protocol::SaslSsl => plan.tls(&setup.certificates()?.authority_file()),
            Protocol::Plaintext | Protocol::SaslPlaintext => plan,
        })
    };
    let broker = setup.broker(broker::Plan::new(protocol))?;
    let watch = setup.watch()?;
    let mut producer = setup.ready_client(&plan(Job::Producer)?, &broker)?;
    // Consumers are given topics that exist.
    producer.must(setup::SEND)?;
    let mut consumer = setup.ready_client(&plan(Job::Consumer)?, &broker)?;
    let reading = format!("poll {}", READING.as_millis());
    consumer.order(&reading)?;
    for _ in 0..ROUNDS {
        producer.must("send 2000 500")?;
        setup.lab.silence(Duration::from_secs(1))?;
    }
    // Another member of the group comes and goes.
    let mut guest = setup.ready_client(&plan(Job::Consumer)?.named("guest"), &broker)?;
    guest.must("poll 2000")?;
    guest.close()?;
    consumer.answer(&reading)?;
    consumer.close()?;
    producer.close()?;
    setup.wait_for_silence(Duration::from_secs(1))?;
    setup.judge(watch, |ending| match ending.what {
        // The close_notify that answers a client's may still be unread when it closes its socket.
        What::Received | What::Sent
            if protocol == Protocol::Ssl && ending.last().from() == Side::Client =>
        {
            Ruling::May(vec![Answer::CLIENT_ABORTED, Answer::LATE_DATA])
        }
        _ => Ruling::Nothing,
    })
}
