//! Clients that do not get past authentication.

use super::prelude::*;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add =
        |clients, name, about, script: fn(&KafkaSetup<'_>, Software) -> Result<Outcome>| {
            all.extend(with_each(clients, name, about, script));
        };
    add(
        &Software::ALL,
        "sasl-wrong-password",
        "the client's password is not the user's",
        |setup, software| {
            let client = client::Plan::new(software, Job::Producer).sasl("PLAIN", "wrong");
            unwelcome(setup, &client)
        },
    );
    add(
        &Software::USUAL,
        "sasl-mechanism",
        "the client asks for a SASL mechanism that the broker does not have",
        |setup, software| {
            let client =
                client::Plan::new(software, Job::Producer).sasl("SCRAM-SHA-256", "alice-secret");
            unwelcome(setup, &client)
        },
    );
    add(
        &Software::USUAL,
        "plaintext-to-sasl",
        "a client that does not authenticate comes to a listener that wants it to",
        |setup, software| unwelcome(setup, &client::Plan::new(software, Job::Producer)),
    );
    all
}

fn unwelcome(setup: &KafkaSetup<'_>, client: &client::Plan) -> Result<Outcome> {
    let broker = broker::Plan::new(Protocol::SaslPlaintext);
    setup.fail(broker, client, Answer::AUTHENTICATION)
}
