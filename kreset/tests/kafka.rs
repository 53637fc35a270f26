//! Records of Apache Kafka, its Java client, librdkafka and kafkajs, judged
//! again.
//!
//! Each file in `recorded/kafka/` was written by `kreset-trace --record` on one
//! host of the lab's scenario of that name (`kreset-lab run NAME --keep DIR`).
//! What the hosts must say is the truth of the scenario.

mod replay;

use std::collections::BTreeSet;

use kreset::{
    classify::{Case, Config, Judgement, context::Context, judge},
    event::{Cause, ProvokedBy, Verdict, class_name},
    facts::{Facts, Kind},
};
use replay::{recordings_in, replay, truths};

/// Scenario, its clients, hosts, and what is right to say on each of these: something of it has to
/// be said, and nothing else; `|` stands between what one host cannot distinguish, or says of
/// different connections, and `-` is no event.
const TRUTH: &str = "
device.aws-nlb              java,librdkafka,kafkajs  client         middlebox_idle_reset/reset_on_send
device.aws-nlb              java,librdkafka,kafkajs  broker         -
device.azure-lb             java,librdkafka          client         middlebox_idle_drop/blackholed
device.azure-lb             java,librdkafka          broker         -
device.azure-lb-reset       java,librdkafka          client,broker  middlebox_idle_reset/reset_on_timer
device.f5-fastl4            kafkajs                  client,broker  middlebox_idle_reset/reset_on_timer
device.haproxy              java,librdkafka          client,broker  -
broker-killed-busy          java                     client         handshake_phase/refused|broker_originated/shutdown|broker_originated/aborted
broker-killed-busy          java                     broker         handshake_phase/refused|broker_originated/shutdown
idle-admin                  java,librdkafka          client         middlebox_idle_reset/reset_on_send
idle-admin                  java,librdkafka          broker         -
idle-transactions           java,librdkafka          client         middlebox_idle_reset/reset_on_send
idle-transactions           java,librdkafka          broker         -
long-poll                   java                     client         -
long-poll                   java                     broker         middlebox_idle_reset/reset_on_send
long-poll                   librdkafka               client,broker  middlebox_idle_reset/reset_on_send
sasl-ssl-wrong-password     java,librdkafka          client,broker  handshake_phase/authentication
healthy-tls                 librdkafka               client,broker  -
healthy                     java,librdkafka          client,broker  -
tls-to-plaintext            java,librdkafka          client,broker  handshake_phase/tls_to_plaintext
plaintext-to-tls            java,librdkafka          client,broker  handshake_phase/plaintext_to_tls
untrusted-certificate       java                     client,broker  handshake_phase/tls_alert
untrusted-certificate       librdkafka               client         -
untrusted-certificate       librdkafka               broker         handshake_phase/tls_alert
tls-version                 java,librdkafka          client,broker  handshake_phase/tls_alert
missing-client-certificate  java,librdkafka          client,broker  handshake_phase/tls_alert
sasl-wrong-password         java,librdkafka          client,broker  handshake_phase/authentication
sasl-mechanism              java,librdkafka          client,broker  handshake_phase/authentication
plaintext-to-sasl           java,librdkafka          client,broker  handshake_phase/authentication
connections-per-ip          java,librdkafka          client,broker  handshake_phase/closed_by_broker
connection-rate             java,librdkafka          client,broker  handshake_phase/closed_by_broker
oversized-request           java                     client,broker  broker_originated/aborted
oversized-request           librdkafka               client         -
oversized-request           librdkafka               broker         broker_originated/aborted
";

/// What a recording comes to, without what is noise to an operator.
fn judgements(name: &str) -> Vec<Judgement> {
    replay(&format!("kafka/{name}"))
        .into_iter()
        .filter(|(facts, judgement)| !is_noise(facts, judgement))
        .map(|(_, judgement)| judgement)
        .collect()
}

/// As `Finding::noise` has it.
fn is_noise(facts: &Facts, judgement: &Judgement) -> bool {
    match (judgement.verdict, judgement.cause) {
        (Verdict::ClientOriginated, Some(Cause::Probe | Cause::LateData)) => true,
        (Verdict::HandshakePhase, _) => false,
        _ => facts
            .idle
            .is_some_and(|idle| idle.provoked_by == ProvokedBy::Close),
    }
}

fn word(judgement: &Judgement) -> String {
    class_name(judgement.verdict, judgement.cause)
}

#[test]
fn what_real_brokers_and_clients_did_is_judged_right() {
    for (name, truth) in truths(TRUTH) {
        let said: BTreeSet<_> = judgements(&name).iter().map(word).collect();
        if truth == "-" {
            assert!(said.is_empty(), "{name}: {said:?}");
        } else {
            let right: BTreeSet<_> = truth.split('|').map(str::to_owned).collect();
            assert!(!said.is_empty(), "{name}: no event");
            assert!(said.is_subset(&right), "{name}: {said:?}");
        }
    }
}

#[test]
fn every_recording_has_its_truth() {
    let known: BTreeSet<_> = truths(TRUTH).map(|(name, _)| name).collect();
    let there: BTreeSet<_> = recordings_in("kafka").into_iter().collect();
    assert_eq!(there, known);
}

/// The advice names the client's own settings; the lab's scenario `advised`
/// tries them.
#[test]
fn each_client_is_advised_in_its_own_words() {
    for (client, settings, others) in [
        (
            "java",
            &["net.ipv4.tcp_keepalive_time=1 and net.ipv4.tcp_keepalive_intvl=1 "][..],
            &["max.idle.ms=", "socketFactory"][..],
        ),
        (
            "librdkafka",
            &[
                "socket.keepalive.enable=true",
                "net.ipv4.tcp_keepalive_time=1 and net.ipv4.tcp_keepalive_intvl=1 ",
                "connections.max.idle.ms=1700",
            ],
            &["socketFactory"],
        ),
        (
            "kafkajs",
            &["setKeepAlive(true, 1000)"],
            &["on the client's host", "max.idle.ms"],
        ),
    ] {
        let judged = judgements(&format!("device.aws-nlb.{client}.client"));
        let advice = &judged.first().expect("it was reset").advice;
        for setting in settings {
            assert!(advice.contains(setting), "{client}: {advice}");
        }
        for other in others {
            assert!(!advice.contains(other), "{client}: {advice}");
        }
    }
}

/// The broker's host knows it by the request alone.
#[test]
fn both_hosts_know_kafkajs() {
    for host in ["client", "broker"] {
        let judged = judgements(&format!("device.f5-fastl4.kafkajs.{host}"));
        let advice = &judged.first().expect("it was reset").advice;
        assert!(advice.contains("socketFactory"), "{host}: {advice}");
    }
}

/// Without the client's first request there is only the name of the process, or
/// of its thread.
#[test]
fn the_process_tells_which_client_it_is() {
    for (client, words) in [("java", "the Java client"), ("librdkafka", "in librdkafka")] {
        let mut facts = replay::facts(&format!("kafka/device.aws-nlb.{client}.client"))
            .into_iter()
            .find(|facts| facts.kind == Kind::ResetReceived)
            .expect("it was reset");
        let packets = facts.packets.as_mut().expect("packets were seen");
        packets.request_head.clear();
        let advice = judge(&Case::new(&facts, &Context::default(), &Config::default())).advice;
        assert!(advice.contains(words), "{:?}: {advice}", facts.owner.name);
    }
}
