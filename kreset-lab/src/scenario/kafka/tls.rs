//! Clients and listeners that do not agree on TLS.

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Family,
    error::Result,
    judge::Answer,
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    scenario::{Outcome, Scenario, Scene},
    util::program::OPENSSL,
};

/// What makes OpenSSL speak TLS 1.2 at the most.
const OLD_OPENSSL: &str = "\
openssl_conf = openssl
[openssl]
ssl_conf = modules
[modules]
system_default = versions
[versions]
MaxProtocol = TLSv1.2
";

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |clients, name, about, script: fn(&Scene<'_>, Software) -> Result<Outcome>| {
        let each = with_each(clients, name, about, script);
        all.extend(each.map(|scenario| scenario.needing(OPENSSL)));
    };
    add(
        &Software::ALL,
        "tls-to-plaintext",
        "a client with TLS comes to a listener without",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let broker = broker::Plan::new(Protocol::Plaintext);
            let client = trusting(&cast, software);
            cast::fail(&cast, broker, &client, Answer::TLS_TO_PLAINTEXT)
        },
    );
    add(
        &Software::ALL,
        "plaintext-to-tls",
        "a client without TLS comes to a listener with it",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let broker = broker::Plan::new(Protocol::Ssl);
            let client = client::Plan::new(software, Job::Producer);
            cast::fail(&cast, broker, &client, Answer::PLAINTEXT_TO_TLS)
        },
    );
    add(
        &Software::USUAL,
        "untrusted-certificate",
        "the client does not know who signed the broker's certificate",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let broker = broker::Plan::new(Protocol::Ssl);
            let mut client = client::Plan::new(software, Job::Producer);
            if let Some(certificates) = &cast.certificates {
                client = client.tls(&certificates.stranger_file());
            }
            cast::fail(&cast, broker, &client, Answer::TLS_ALERT)
        },
    );
    add(
        &Software::USUAL,
        "tls-version",
        "the client speaks TLS 1.2 and the listener TLS 1.3 only",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let broker = broker::Plan::new(Protocol::Ssl).with("ssl.enabled.protocols", "TLSv1.3");
            let client = trusting(&cast, software)
                .with_if(Software::Java, "ssl.enabled.protocols", "TLSv1.2")
                .with_if(Software::Java, "ssl.protocol", "TLSv1.2")
                // librdkafka has no setting for versions, and its OpenSSL has.
                .variable("OPENSSL_CONF", cast.scratch.write("openssl.cnf", OLD_OPENSSL)?);
            cast::fail(&cast, broker, &client, Answer::TLS_ALERT)
        },
    );
    add(
        &Software::USUAL,
        "missing-client-certificate",
        "the listener asks for a certificate that the client does not have",
        |scene, software| {
            let cast = Cast::with_certificates(scene)?;
            let broker = broker::Plan::new(Protocol::Ssl).with("ssl.client.auth", "required");
            let client = trusting(&cast, software);
            cast::fail(&cast, broker, &client, Answer::TLS_ALERT)
        },
    );
    all.push(
        Scenario::new(
            "http-to-kafka",
            "something that speaks HTTP comes to a Kafka port",
            http,
        )
        .with_real_parts(),
    );
    all
}

fn http(scene: &Scene<'_>) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let _broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let mut visitor = scene.lab.connect(Family::Ipv4)?;
    visitor.send(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nAccept: */*\r\n\r\n")?;
    cast.wait_for_failures(1)?;
    cast.curtain(&mut [])?;
    cast::judge_an_ending(scene, watch, |ending| {
        cast::failed(ending, Answer::NOT_KAFKA)
    })
}

/// A producer that speaks TLS and trusts the broker's authority.
fn trusting(cast: &Cast<'_>, software: Software) -> client::Plan {
    let plan = client::Plan::new(software, Job::Producer);
    match &cast.certificates {
        Some(certificates) => plan.tls(&certificates.authority_file()),
        None => plan,
    }
}
