//! Clients that do not get past authentication.

use super::prelude::*;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |clients, name, about, script: fn(&Session<'_>, Software) -> Result<Outcome>| {
        all.extend(with_each(clients, name, about, script));
    };
    add(
        &Software::ALL,
        "sasl-wrong-password",
        "the client's password is not the user's",
        |session, software| {
            let client = client::Plan::new(software, Job::Producer).sasl("PLAIN", "wrong");
            unwelcome(session, &client)
        },
    );
    add(
        &Software::USUAL,
        "sasl-mechanism",
        "the client asks for a SASL mechanism that the broker does not have",
        |session, software| {
            let client =
                client::Plan::new(software, Job::Producer).sasl("SCRAM-SHA-256", "alice-secret");
            unwelcome(session, &client)
        },
    );
    add(
        &Software::USUAL,
        "plaintext-to-sasl",
        "a client that does not authenticate comes to a listener that wants it to",
        |session, software| unwelcome(session, &client::Plan::new(software, Job::Producer)),
    );
    all
}

fn unwelcome(session: &Session<'_>, client: &client::Plan) -> Result<Outcome> {
    let setup = KafkaSetup::new(session)?;
    let broker = broker::Plan::new(Protocol::SaslPlaintext);
    setup::fail(&setup, broker, client, Answer::AUTHENTICATION)
}
