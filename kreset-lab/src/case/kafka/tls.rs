//! Clients and listeners that do not agree on TLS.

use super::prelude::*;
use crate::util::program::OPENSSL;

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
    let mut add =
        |clients, name, about, script: fn(&KafkaSetup<'_>, Software) -> Result<Outcome>| {
            let each = with_each(clients, name, about, script);
            all.extend(each.map(|scenario| scenario.needing(OPENSSL)));
        };
    add(
        &Software::ALL,
        "tls-to-plaintext",
        "a client with TLS comes to a listener without",
        |setup, software| {
            let broker = broker::Plan::new(Protocol::Plaintext);
            let client = trusting(setup, software)?;
            setup.fail(broker, &client, Answer::TLS_TO_PLAINTEXT)
        },
    );
    add(
        &Software::ALL,
        "plaintext-to-tls",
        "a client without TLS comes to a listener with it",
        |setup, software| {
            let broker = broker::Plan::new(Protocol::Ssl);
            let client = client::Plan::new(software, Job::Producer);
            setup.fail(broker, &client, Answer::PLAINTEXT_TO_TLS)
        },
    );
    add(
        &Software::USUAL,
        "untrusted-certificate",
        "the client does not know who signed the broker's certificate",
        |setup, software| {
            let broker = broker::Plan::new(Protocol::Ssl);
            let stranger = setup.certificates()?.stranger_file();
            let client = client::Plan::new(software, Job::Producer).tls(&stranger);
            setup.fail(broker, &client, Answer::TLS_ALERT)
        },
    );
    add(
        &Software::USUAL,
        "tls-version",
        "the client speaks TLS 1.2 and the listener TLS 1.3 only",
        |setup, software| {
            let broker = broker::Plan::new(Protocol::Ssl).with("ssl.enabled.protocols", "TLSv1.3");
            let client = trusting(setup, software)?
                .with_if(Software::Java, "ssl.enabled.protocols", "TLSv1.2")
                .with_if(Software::Java, "ssl.protocol", "TLSv1.2")
                // librdkafka has no setting for versions, and its OpenSSL has.
                .variable("OPENSSL_CONF", setup.scratch.write("openssl.cnf", OLD_OPENSSL)?);
            setup.fail(broker, &client, Answer::TLS_ALERT)
        },
    );
    add(
        &Software::USUAL,
        "missing-client-certificate",
        "the listener asks for a certificate that the client does not have",
        |setup, software| {
            let broker = broker::Plan::new(Protocol::Ssl).with("ssl.client.auth", "required");
            let client = trusting(setup, software)?;
            setup.fail(broker, &client, Answer::TLS_ALERT)
        },
    );
    all.push(setup::alone(
        "http-to-kafka",
        "something that speaks HTTP comes to a Kafka port",
        http,
    ));
    all
}

fn http(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let _broker = setup.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = setup.watch()?;
    let mut visitor = setup.lab.connect(Family::Ipv4)?;
    visitor.send(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nAccept: */*\r\n\r\n")?;
    setup.wait_for_failures(1)?;
    setup.settle(&mut [])?;
    setup.judge_an_ending(watch, |ending| setup::failed(ending, Answer::NOT_KAFKA))
}

/// A producer that speaks TLS and trusts the broker's authority.
fn trusting(setup: &KafkaSetup<'_>, software: Software) -> Result<client::Plan> {
    let authority = setup.certificates()?.authority_file();
    Ok(client::Plan::new(software, Job::Producer).tls(&authority))
}
