//! Clients that do not get past authentication.

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
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
    let mut add = |clients, name, about, script: fn(&Scene<'_>, Software) -> Result<Outcome>| {
        all.extend(with_each(clients, name, about, script));
    };
    add(
        &Software::ALL,
        "sasl-wrong-password",
        "the client's password is not the user's",
        |scene, software| {
            let client = client::Plan::new(software, Job::Producer).sasl("PLAIN", "wrong");
            unwelcome(scene, &client)
        },
    );
    add(
        &Software::USUAL,
        "sasl-mechanism",
        "the client asks for a SASL mechanism that the broker does not have",
        |scene, software| {
            let client =
                client::Plan::new(software, Job::Producer).sasl("SCRAM-SHA-256", "alice-secret");
            unwelcome(scene, &client)
        },
    );
    add(
        &Software::USUAL,
        "plaintext-to-sasl",
        "a client that does not authenticate comes to a listener that wants it to",
        |scene, software| unwelcome(scene, &client::Plan::new(software, Job::Producer)),
    );
    all
}

fn unwelcome(scene: &Scene<'_>, client: &client::Plan) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let broker = broker::Plan::new(Protocol::SaslPlaintext);
    cast::fail(&cast, broker, client, Answer::AUTHENTICATION)
}
