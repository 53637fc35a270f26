//! Records of real resets, judged again: the same code judges live events.
//!
//! Each file in `recorded/` was written by `kreset-trace --record` on one host
//! of a lab scenario and is named after it. What the hosts must say is the
//! truth of the scenario, not what kreset once said.

mod replay;

use kreset::{
    classify::Judgement,
    event::{SentBy, class_name},
    facts::{Facts, Kind},
};
use replay::{recordings, replay, truths};

/// Scenario, hosts, and the verdicts and causes of the events on each; `|` stands between causes
/// that one host cannot distinguish, `-` is no event, and `?` what one host cannot decide.
const TRUTH: &str = "
idle_reset_on_send.ipv4           client         middlebox_idle_reset/reset_on_send
idle_reset_on_send.ipv4           broker         -
idle_reset_on_send.ipv6           client         middlebox_idle_reset/reset_on_send
idle_reset_on_send.ipv6           broker         -
idle_reset_on_send.mapped         client         middlebox_idle_reset/reset_on_send
idle_reset_on_send.mapped         broker         -
idle_reset_on_timer.ipv4          client,broker  middlebox_idle_reset/reset_on_timer
idle_reset_on_timer.ipv6          client,broker  middlebox_idle_reset/reset_on_timer
idle_reset_on_timer.mapped        client,broker  middlebox_idle_reset/reset_on_timer
idle_reset_on_keepalive           client         middlebox_idle_reset/reset_on_send
idle_reset_on_keepalive           broker         -
idle_reset_long_poll              client         -
idle_reset_long_poll              broker         middlebox_idle_reset/reset_on_send
idle_reset_on_close               client         middlebox_idle_reset/reset_on_send
idle_reset_on_close               broker         -
idle_reset_after_retransmissions  client         middlebox_idle_reset/reset_on_send
idle_reset_after_retransmissions  broker         -
idle_reset_copied_ttl             client         ?
idle_reset_copied_ttl             broker         -
idle_drop                         client         middlebox_idle_drop/blackholed
idle_drop                         broker         -
broker_abort_linger               client,broker  broker_originated/aborted
broker_abort_unread               client,broker  broker_originated/aborted
broker_killed_idle                client,broker  broker_originated/shutdown
broker_killed_busy                client         broker_originated/shutdown|broker_originated/aborted
broker_killed_busy                broker         broker_originated/shutdown
connection_lost                   client         ?
connection_lost                   broker         broker_originated/connection_lost
connection_lost_no_listener       client         ?
connection_lost_no_listener       broker         broker_originated/connection_lost
refused.ipv4                      client,broker  handshake_phase/refused
refused.ipv6                      client,broker  handshake_phase/refused
refused.mapped                    client,broker  handshake_phase/refused
refused_by_device                 client         handshake_phase/refused
refused_by_device                 broker         -
closed_by_broker                  client,broker  handshake_phase/closed_by_broker
closed_by_broker_silent           client,broker  handshake_phase/closed_by_broker
broker_hangs                      client,broker  handshake_phase/closed_by_broker
tls_check                         client,broker  client_originated/late_data
tls_check_unwrapped               client,broker  -
tls_check_left                    client,broker  -
tls_request_left                  client,broker  -
tls_one_request                   client,broker  client_originated/late_data
tls_unknown_ca                    client,broker  handshake_phase/tls_alert
sasl_check                        client,broker  -
broker_stops                      broker         ?
half_closed                       client,broker  broker_originated/aborted
hop_resets_hello                  client,broker  middlebox_reset/not_idle
hop_fails_over                    client         middlebox_reset/not_idle
older_than_tracer                 client         middlebox_idle_reset/reset_on_send
older_than_tracer                 broker         -
client_abort                      client,broker  client_originated/aborted
client_probe                      client,broker  client_originated/probe
client_late_data                  client,broker  client_originated/late_data
client_late_data_orphan           client,broker  client_originated/late_data
hop_reset_busy                    client,broker  middlebox_reset/not_idle
hop_lost_state                    client         middlebox_reset/not_idle
hop_lost_state                    broker         -
broker_idle_close                 client,broker  broker_originated/idle_close
client_close_noise                client,broker  client_originated/probe|client_originated/late_data
older_and_silent                  client         ?
older_and_silent                  broker         -
hop_reset_kept_alive              client,broker  middlebox_reset/not_idle|middlebox_idle_reset/reset_on_timer|indeterminate
";

#[test]
fn every_recording_is_judged_right() {
    let mut wrong = Vec::new();
    for (name, truth) in truths(TRUTH) {
        let said: Vec<String> = replay(&name).iter().map(word).collect();
        if !agrees(&said, truth) {
            wrong.push(format!("{name}: {truth}, said {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recording_has_its_truth() {
    for name in recordings() {
        assert!(
            truths(TRUTH).any(|(known, _)| known == name),
            "{name} is recorded, and nothing is expected of it"
        );
    }
}

/// Judging depends on nothing but the records.
#[test]
fn a_recording_is_judged_alike_every_time() {
    for (name, _) in truths(TRUTH) {
        assert_eq!(replay(&name), replay(&name), "{name}");
    }
}

fn word((_, judgement): &(Facts, Judgement)) -> String {
    class_name(judgement.verdict, judgement.cause)
}

/// `?` stands for a case that one host cannot decide: whatever is said must be
/// said with less than 0.9.
fn agrees(said: &[String], truth: &str) -> bool {
    match truth {
        "-" => said.is_empty(),
        "?" => !said.is_empty(),
        _ => {
            !said.is_empty()
                && said
                    .iter()
                    .all(|said| truth.split('|').any(|one| one == said))
        }
    }
}

#[test]
fn what_one_host_cannot_decide_is_not_said_for_sure() {
    for (name, _) in truths(TRUTH).filter(|(_, truth)| *truth == "?") {
        for (facts, judgement) in replay(&name) {
            assert!(matches!(facts.kind, Kind::ResetReceived | Kind::ResetSent));
            assert!(judgement.confidence < 0.9, "{name}: {judgement:?}");
        }
    }
}

/// Whose packet ended the connection: the verdict tells where it can, and what this
/// host sent it knows.
#[test]
fn the_sender_of_each_ending_is_named() {
    for (name, expected) in [
        ("idle_reset_on_send.ipv4.client", Some(SentBy::Device)),
        ("idle_reset_on_timer.ipv6.broker", Some(SentBy::Device)),
        ("idle_reset_copied_ttl.client", Some(SentBy::Unknown)),
        ("idle_drop.client", None),
        ("broker_abort_linger.client", Some(SentBy::Broker)),
        ("broker_abort_linger.broker", Some(SentBy::Broker)),
        ("client_abort.client", Some(SentBy::Client)),
        ("client_abort.broker", Some(SentBy::Client)),
        ("connection_lost.broker", Some(SentBy::Broker)),
        ("tls_unknown_ca.client", Some(SentBy::Client)),
        ("tls_unknown_ca.broker", Some(SentBy::Client)),
        ("refused.ipv4.broker", Some(SentBy::Broker)),
    ] {
        let events = replay(name);
        let (_, judgement) = events.first().unwrap_or_else(|| panic!("{name}: no event"));
        assert_eq!(judgement.sent_by, expected, "{name}: {judgement:?}");
    }
}
