//! Clients that do not get past authentication.

use super::prelude::*;
use crate::util::program::OPENSSL;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::ALL,
        "sasl-wrong-password",
        "the client's password is not the user's",
        |setup, software| {
            let client = client::Plan::new(software, Job::Producer).sasl("PLAIN", "wrong");
            unwelcome(setup, &client)
        },
    ));
    let hidden = with_each(
        &Software::USUAL,
        "sasl-ssl-wrong-password",
        "the client's password is not the user's, within TLS",
        hidden,
    );
    all.extend(hidden.map(|scenario| scenario.needing(OPENSSL)));
    all.extend(with_each(
        &Software::USUAL,
        "sasl-mechanism",
        "the client asks for a SASL mechanism that the broker does not have",
        |setup, software| {
            let client =
                client::Plan::new(software, Job::Producer).sasl("SCRAM-SHA-256", "alice-secret");
            unwelcome(setup, &client)
        },
    ));
    all.extend(with_each(
        &Software::USUAL,
        "plaintext-to-sasl",
        "a client that does not authenticate comes to a listener that wants it to",
        |setup, software| unwelcome(setup, &client::Plan::new(software, Job::Producer)),
    ));
    all
}

/// What went wrong is hidden in TLS: that a login failed shows by how soon the broker closes, and
/// only where the client's answer is a reset is there an event.
fn hidden(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let broker = setup.broker(broker::Plan::new(Protocol::SaslSsl))?;
    let plan = client::Plan::new(software, Job::Producer)
        .with("reconnect.backoff.ms", 500)
        .with("reconnect.backoff.max.ms", 500)
        .tls(&setup.certificates()?.authority_file())
        .sasl("PLAIN", "wrong");
    let watch = setup.watch()?;
    let mut client = setup.client(&plan, &broker)?;
    client.order("hello")?;
    setup.wait_for_failures(1)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, |ending| match ending.what {
        What::TimedOut => Ruling::Nothing,
        _ => Ruling::May(vec![Answer::AUTHENTICATION]),
    })
}

fn unwelcome(setup: &KafkaSetup<'_>, client: &client::Plan) -> Result<Outcome> {
    let broker = broker::Plan::new(Protocol::SaslPlaintext);
    setup.fail(broker, client, Answer::AUTHENTICATION)
}
